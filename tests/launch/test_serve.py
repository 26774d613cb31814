"""launch/serve.py as a user runs it, asked through the openai package and through faults."""

import base64
import io
import json
import os
import re
import signal
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import jax
import openai
import pytest
from PIL import Image

from rrft_jax.evaluation.answer import make_answer
from rrft_jax.evaluation.endpoint import Endpoint, Unanswered, make_answerer
from rrft_jax.evaluation.questions import Decoding, Question
from rrft_jax.models.weights import load_params
from rrft_jax.pretrained import load_parts, resolve_init
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.tasks.visual_counting.generator import example
from tests.web import ROOT, WAIT, Faults, running, serving, start

LENGTH = 24


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    cache = tmp_path_factory.mktemp("programs")
    with serving(f"--max_new_tokens={LENGTH}", f"--compilation_cache={cache}") as (_, url):
        yield url


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key="none", timeout=WAIT, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def expected():
    """Greedy answers of an evaluation about the same scenes: text -> answer, and the questions."""
    directory = resolve_init("nano")
    model, processor = load_parts(directory, "float32")
    answer = make_answer(model, jax.device_put(load_params(directory, model.config)), processor, Sampling(0.0), LENGTH)
    asked = []
    for k in range(6):
        scene = example(0, k, "val", "in")
        asked.append(Question(f"scene{k}", k, "List the objects." if k % 2 else scene.problem, scene.images))
    return asked, {q.id: "".join(answer(q.text, q.images)) for q in asked}


def messages(question):
    parts = []
    for image in question.images:
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        data = base64.b64encode(out.getvalue()).decode()
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    return [{"role": "user", "content": [*parts, {"type": "text", "text": question.text}]}]


def ask(client, question, **options):
    return client.chat.completions.create(model="nano", messages=messages(question), **options)


@pytest.mark.slow
def test_greedy_text_is_that_of_an_evaluation_streamed_or_not(client, expected):
    asked, texts = expected
    assert len(set(texts.values())) > 2
    for question in asked[:2]:
        whole = ask(client, question, temperature=0)
        assert whole.choices[0].message.content == texts[question.id]
        stream = ask(client, question, temperature=0, stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "".join(pieces) == texts[question.id]
        assert chunks[-1].usage == whole.usage
        assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert len([piece for piece in pieces if piece]) > 5, "the list of objects comes piece by piece"


@pytest.mark.slow
def test_many_at_once(client, expected):
    asked, texts = expected
    with ThreadPoolExecutor(12) as pool:
        got = list(pool.map(lambda q: ask(client, q, temperature=0).choices[0].message.content, asked * 2))
    assert got == [texts[q.id] for q in asked * 2]


@pytest.mark.slow
def test_seeds_repeat_draws(client, expected):
    (_, question, *_), _ = expected
    drawn = [
        [c.message.content for c in ask(client, question, temperature=2, n=2, seed=seed).choices] for seed in (4, 4, 5)
    ]
    assert drawn[0] == drawn[1] != drawn[2] and drawn[0][0] != drawn[0][1]
    stream = ask(client, question, temperature=2, seed=4, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == drawn[0][0]


@pytest.mark.slow
def test_conversations_limits_and_refusals(client, expected):
    (question, *_), texts = expected
    short = ask(client, question, temperature=0, max_tokens=1)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 1
    turns = [*messages(question), {"role": "assistant", "content": "7"}, {"role": "user", "content": "Why?"}]
    longer = client.chat.completions.create(model="nano", messages=turns, temperature=0)
    assert longer.usage.prompt_tokens > short.usage.prompt_tokens + 5
    assert [model.id for model in client.models.list()] == ["nano"]
    with pytest.raises(openai.NotFoundError, match="this server has 'nano'"):
        client.chat.completions.create(model="gpt", messages=turns)
    part = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}
    with pytest.raises(openai.BadRequestError, match="fetches nothing"):
        client.chat.completions.create(model="nano", messages=[{"role": "user", "content": [part]}])


@pytest.mark.slow
def test_evaluation_through_faults_gets_every_reply_once_and_goes_on(url, expected):
    asked, texts = expected
    plan = {}
    distinct = [Question(q.id, q.number, f"{q.text} ({q.number})", q.images) for q in asked]
    for question, faults in zip(
        distinct, (["429"], ["500", "malformed"], ["hang"], ["503", "cut"], ["no choices"], []), strict=True
    ):
        plan[question.text] = faults
    broken = distinct[3].text
    plan[broken] = ["500"] * 40  # more than the attempts of the first pass
    faults = Faults(url, plan)
    with running(faults.app) as front:
        # A request may wait for the server to compile: only the hanging one should reach the time-out.
        settings = {"first_wait": 0.01, "longest_wait": 0.05, "timeout": 60.0, "concurrency": 3}
        answer = make_answerer(Endpoint(front, "nano", attempts=20, **settings), Decoding(max_new_tokens=LENGTH))
        kept = {}
        with pytest.raises(Unanswered, match="scene3: 500"):
            for reply in answer(distinct):
                assert reply.id not in kept
                kept[reply.id] = reply
        assert set(kept) == {q.id for q in distinct} - {"scene3"}
        plan[broken].clear()
        faults.plan[broken].clear()
        (last,) = answer([q for q in distinct if q.id not in kept])
        kept[last.id] = last
        # Without a front, the same server gives the same.
        straight = make_answerer(Endpoint(url, "nano", timeout=WAIT), Decoding(max_new_tokens=LENGTH))
        assert {reply.id: reply for reply in straight(distinct)} == kept
    assert all(reply.lengths[0] > 0 for reply in kept.values())


@pytest.mark.slow
def test_ctrl_c_finishes_what_was_begun(expected, tmp_path):
    (_, question, *_), texts = expected
    with serving(f"--max_new_tokens={LENGTH}", "--compilation_cache=") as (process, url):
        begun = threading.Event()
        pieces = []

        def listen():
            with openai.OpenAI(base_url=url, api_key="none", timeout=WAIT, max_retries=0) as client:
                for chunk in ask(client, question, temperature=0, stream=True):
                    pieces.append(chunk.choices[0].delta.content or "")
                    if any(pieces):
                        begun.set()

        thread = threading.Thread(target=listen)
        thread.start()
        assert begun.wait(WAIT)
        process.send_signal(signal.SIGINT)
        thread.join(WAIT)
        assert process.wait(WAIT) == 130
        assert "".join(pieces) == texts[question.id]
        assert process.stderr.read() == ""
    with pytest.raises(OSError):
        socket.create_connection(re.search(r"//(.+):(\d+)/", url).groups(), timeout=5)


@pytest.mark.slow
def test_a_picture_that_is_none_and_a_body_too_large(url):
    def post(body):
        request = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=WAIT) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    status, body = post(json.dumps({"model": "nano", "messages": [{"role": "user", "content": [part]}]}).encode())
    assert status == 400 and body["error"]["code"] == "invalid_image"
    status, body = post(b"{" + b" " * (33 * 2**20))
    assert status == 413 and "larger than" in body["error"]["message"]


def mistake(*args, **options):
    process = start(*args, **options)
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 2 and out == "", out + err
    assert err.startswith("error: ") and err.count("\n") == 1, err
    return err


@pytest.mark.slow
def test_mistakes_are_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "choose another" in mistake(f"--port={taken.getsockname()[1]}")
    assert "--checkpoint='nowhere'" in mistake("--port=0", "--checkpoint=nowhere")
    assert "--allowed_hosts: 'http://gpubox' is not" in mistake("--port=0", "--allowed_hosts=http://gpubox")
    assert "power of two" in mistake("--port=0", "--max_rows=3")
    (tmp_path / "starlette.py").write_text("raise ImportError('gone', name='starlette')")
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    assert "starlette is not installed: pip install -e '.[serve]'" in mistake("--port=0", env=path)
