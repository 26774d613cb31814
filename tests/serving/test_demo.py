"""The demo's page: what it refuses, without a model; and used in a real, headless Chromium with nano."""

import asyncio
import base64
import io
import json
import os
import queue
import re
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import httpx2 as httpx
import pytest
from PIL import Image

from rrft_jax.data.example import Example
from rrft_jax.evaluation.asking import LISTED, load_to_ask
from rrft_jax.rewards import Pool, symbolic
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.serving.demo import POLICY, Asked, _scene, _stream, _task, make_demo
from rrft_jax.serving.engine import Busy, Engine, Job
from rrft_jax.serving.hosts import host_check
from rrft_jax.serving.prepare import Limits
from rrft_jax.serving.programs import DecodePrograms
from rrft_jax.serving.protocol import ApiError
from rrft_jax.serving.text import answer_pieces
from rrft_jax.tasks.registry import tasks
from tests.report.test_browser import CHROMIUM, TOOLS, WATCH
from tests.web import running

LIMITS = Limits(512, 128, 4)
FOUND: queue.SimpleQueue = queue.SimpleQueue()  # what the page tells
_PNG = io.BytesIO()
Image.new("RGB", (56, 84), "red").save(_PNG, "PNG")
USE = (Path(__file__).parent / "demo.js").read_text().replace("PNG", base64.b64encode(_PNG.getvalue()).decode())


@pytest.fixture(scope="module")
def url():
    """Of the demo with nano, whose script is followed by what a person would do."""
    model, params, processor = load_to_ask("nano", "float32")
    programs = DecodePrograms(model, params, processor)
    engine = Engine(programs, lambda *of: answer_pieces(processor, *of), LIMITS.max_rows)
    with Pool(1, initializer=symbolic.load) as pool:
        own = tasks()
        offered = {name: own[name] for name in ("visual_counting", "reasoning_grounding", "vqa")}
        app = make_demo(engine, processor, "nano", offered, LIMITS, pool, trusted=host_check("127.0.0.1"))
        with running(_with_script(app)) as base:
            yield base.removesuffix("/v1")
        engine.stop()
        engine.join()


def _with_script(app):
    """The same application; its script counts what goes wrong from its start, and leaves what USE found in the page."""
    watch = re.sub("</?script>", "", WATCH)
    use = (
        f"{TOOLS}(async () => {{ let found; try {{ found = await (async () => {{ {USE} }})(); }} "
        "catch (error) { wrong.push(String(error.stack)); } "
        'fetch("found", {method: "POST", body: JSON.stringify({found, wrong})}); })();'
    )

    async def wrapped(scope, receive, send):
        async def changed(message):
            if message["type"] == "http.response.start":
                message["headers"] = [(k, v) for k, v in message["headers"] if k != b"content-length"]
            elif message["type"] == "http.response.body":
                message["body"] = watch.encode() + message["body"] + use.encode()
            await send(message)

        if scope.get("path") == "/found":
            body = b""
            while (message := await receive())["type"] == "http.request":
                body += message["body"]
                if not message.get("more_body"):
                    break
            FOUND.put(json.loads(body))
        await app(scope, receive, changed if scope.get("path") == "/page.js" else send)

    return wrapped


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
def test_a_person_asks_on_a_phone(url, tmp_path):
    command = [  # a debugging port keeps it at the page in real time, since answers come when they come
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={tmp_path}", "--window-size=500,844", "--remote-debugging-port=0", url,
    ]  # fmt: skip
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        answer = FOUND.get(timeout=300)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
    assert answer["wrong"] == []
    found = answer["found"]
    assert found["title"] == "Ask nano" and found["question"].endswith("?")
    assert 0 < found["early"] < len("".join(found["texts"])) and len(found["texts"]) == 4
    names = ["reward", "accuracy", "format", "advantage"]
    assert [chip.split()[0] for chip in found["chips"]][:4] == names and found["chips"][4].endswith(" tokens")
    assert found["rewards"] == sorted(found["rewards"], reverse=True) and "mean reward" in found["summary"]
    assert found["boxes"] == 1 and found["gold"].startswith("Gold answer: ")
    own = found["own"]
    assert own["answers"] == 4 and own["gold"] == "No gold answer, so no rewards." and own["bold"] == 0
    assert not any("reward" in chip for chip in own["chips"])
    assert found["mistake"].startswith("the gold answer cannot be scored: ")
    assert found["width"] <= 500 and found["light"] != found["dark"]


def test_a_question_that_is_refused_half_way_leaves_nothing_running():
    begun = []

    class Full:
        def submit(self, work, emit):
            if len(begun) == 2:
                raise Busy("too many wait")
            begun.append(Job(work, emit))
            return begun[-1]

    work = SimpleNamespace(prompt=SimpleNamespace(tokens=[1]))
    asked = Asked(Example("yours", "vqa", "Hi", ""), "Hi", (), 3, Sampling(), 4, None)

    async def lines():
        return [json.loads(line) async for line in _stream(Full(), asked, [work] * 3, None)]

    _, error = asyncio.run(lines())
    assert "too many wait" in error["error"]["message"] and [job.cancelled for job in begun] == [True, True]


def test_a_list_of_choices_is_found_in_linear_time():
    for text, listed in {"A. 1 B. 2": True, "Is it A: 3\nor B) 4": True, "B. 2 A. 1": False, "BA. B.": False}.items():
        assert bool(LISTED.search(text)) == listed
    began = time.thread_time()  # of this thread alone
    assert not LISTED.search("A." * 100_000) and time.thread_time() - began < 5


@pytest.mark.parametrize("task, domain, wrong", [(["vqa"], "in", "task"), ("visual_counting", ["in"], "domain")])
def test_names_that_are_no_texts_are_refused(task, domain, wrong):
    with pytest.raises(ApiError) as refused:
        _scene(_task(tasks(), task), domain, 0)
    assert refused.value.body["error"]["param"] == wrong


@pytest.mark.slow
def test_what_the_page_may_not_do(url):
    with httpx.Client(base_url=url, timeout=300) as client:
        page = client.get("/")
        assert page.headers["content-security-policy"] == POLICY and not re.search(r"https?://", page.text)
        assert not re.search(r"(fetch|src|href|import)\W+https?:", client.get("/page.js").text)
        assert client.get("/tasks", headers={"Host": "evil.example"}).status_code == 403
        good = {"task": "vqa", "prompt": "none", "question": "Hi"}
        good |= {"samples": 1, "temperature": 0, "top_p": 1, "length": 4}
        for field, value in {"task": "nothing", "samples": 5, "temperature": None, "top_p": 0, "length": 10**6,
                             "prompt": __file__, "pictures": ["https://x"], "scene": {"domain": "in"}}.items():
            reply = client.post("/ask", json=good | {field: value})
            assert reply.status_code == 400, field
            assert reply.json()["error"]["param"].startswith({"scene": "domain"}.get(field, field)), field
        assert client.post("/ask", content=json.dumps(good), headers={"Content-Type": "text/plain"}).status_code == 415
        lines = [json.loads(line) for line in client.post("/ask", json=good).text.splitlines()]
        assert lines[0]["prompt"] == "Hi" and lines[-1] == {"done": True}
