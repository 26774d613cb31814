"""The reward llm_judge against a real server that is slow, lies, sends pages, refuses, or dies in mid-run."""

import asyncio
import contextlib
import re
import time

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rrft_jax.data.example import Example
from rrft_jax.rewards.chosen import chosen_rewards
from rrft_jax.rewards.judge.cache import FILE
from rrft_jax.rewards.values import SetupError
from tests.timing import tried_again
from tests.web import WAIT, running, serving

# What a response makes the server say or do.
LIES = {
    "HTMLTEXT": "<html>score</html>", "PROSE": "Very good!", "HIGH": '{"score": 1e300}', "NAN": '{"score": NaN}',
    "LIST": '["score", 9]', "EMPTY": "",
}  # fmt: skip


class Server:
    """A judge that gives what the response asks for in a tag, and 7 without one. asked: messages of all requests."""

    def __init__(self):
        self.asked = []
        self.app = Starlette(routes=[Route("/v1/chat/completions", self.chat, methods=["POST"])])

    async def chat(self, request):
        body = await request.json()
        self.asked.append(body)
        content = body["messages"][-1]["content"]
        if "PAGE" in content:
            return Response("<html>Bad gateway</html>", 200, media_type="text/html")
        if "SLOW" in content:
            await asyncio.sleep(20)
        if "BUSY" in content:
            return JSONResponse({"error": {"message": "busy"}}, 500)
        if "LONG" in content:
            return JSONResponse({"error": {"message": "too long"}}, 400)
        if "DENY" in content:
            return JSONResponse({"error": {"message": "no"}}, 401)
        said = next((text for tag, text in LIES.items() if tag in content), '{"score": 7, "rationale": "ok"}')
        if "BEGIN RESPONSE B" in content:
            a, b = re.findall(r"BEGIN RESPONSE . \w+\]\]\n(.*)\n", content)
            said = '{"winner": "%s"}' % ("A" if len(a) > len(b) else "B")
        message = {"role": "assistant", "content": said}
        return JSONResponse({
            "id": "i", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        })  # fmt: skip


def judged_by(at, **options):
    options = {"url": at, "model": "m", "k": 1, "timeout": WAIT, "attempts": 1, **options}
    return chosen_rewards({"llm_judge": 2.0}, (), {"llm_judge": options}, tokenize=list)


def score(rewards, texts, step=1, **fields):
    examples = [Example(f"e{i}", "vqa", "What?", "the reference", **fields) for i in range(len(texts))]
    return rewards.score(texts, examples, [i // 2 for i in range(len(texts))], step)


@pytest.fixture
def server(monkeypatch):
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    with running(server.app) as server.url:
        yield server


def test_scores_come_from_the_server_and_equal_answers_are_asked_once(server):
    scored = score(judged_by(server.url, leave_out=("seed",)), ["a", "a", "b"])
    assert scored.values.tolist() == [[0.7] * 3] and scored.total.tolist() == [1.4] * 3 and not scored.failures
    assert len(server.asked) == 2
    sent = server.asked[0]
    assert (sent["model"], sent["temperature"], sent["max_tokens"], "seed" in sent) == ("m", 0.0, 256, False)
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert "the reference" in sent["messages"][-1]["content"]


@tried_again
def test_faults_cost_their_completion_alone(server):
    texts = ["good", "SLOW", "PAGE", "BUSY", "HTMLTEXT", "PROSE", "HIGH", "NAN", "LIST", "EMPTY", "good too", "HIGH"]
    start = time.monotonic()
    scored = score(judged_by(server.url, timeout=1.0), texts)
    assert time.monotonic() - start < 10
    assert [f.position for f in scored.failures] == [1, 2, 3] == list(scored.unscored)
    for failure, said in zip(scored.failures, ("no reply within 1 s", "malformed reply", "500: busy"), strict=True):
        assert said in failure.reason
    np.testing.assert_array_equal(scored.values[0], [0.7, *[np.nan] * 3, 0, 0, 1.0, 0, 0, 0, 0.7, 1.0])
    assert scored.metrics["parse_fail/llm_judge"] == (5.0, 12.0)


def test_a_server_that_dies_and_comes_back(server, tmp_path):
    """Values until it dies; then only errors, soon; then values again. A step that is repeated asks nobody."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running(Server().app))
        rewards = judged_by(url, cache=str(tmp_path), give_up=2, concurrency=2)
        assert score(rewards, ["a", "b"]).values.tolist() == [[0.7, 0.7]]
    scored = score(rewards, ["a", *map(str, range(20))])
    assert scored.values[0][0] == 0.7 and np.isnan(scored.values[0][1:]).all() and len(scored.failures) == 20
    assert any("no connection" in f.reason for f in scored.failures)
    assert sum("not asked: " in f.reason for f in scored.failures) >= 17
    again = judged_by(server.url, cache=str(tmp_path))  # a later session, at another address
    assert score(again, ["b", "c"]).values.tolist() == [[0.7, 0.7]] and len(server.asked) == 1
    assert len((tmp_path / FILE).read_text().splitlines()) == 3


def test_texts_that_a_living_server_refuses_are_no_dead_server(server):
    scored = score(judged_by(server.url, give_up=2, concurrency=1), [*(f"LONG {i}" for i in range(6)), "good"])
    assert scored.values[0][-1] == 0.7 and len(scored.failures) == 6 and "too long" in scored.failures[-1].reason


def test_a_broken_judge_gives_no_values(server):
    """Where no reply holds a verdict it is not the texts that are at fault."""
    scored = score(judged_by(server.url), ["PROSE", "PROSE 2", "EMPTY"])
    assert np.isnan(scored.values).all() and len(scored.failures) == 3
    assert "no reply of this batch holds a verdict" in scored.failures[0].reason


@pytest.mark.parametrize("texts, why", [(["DENY", "DENY 2"], "set OPENAI_API_KEY"), (["BUSY"], "500: busy")])
def test_a_first_step_without_any_verdict_stops_the_run(server, texts, why):
    with pytest.raises(SetupError, match=f"judged none of {len(texts)} completions of the first step.*{why}"):
        score(judged_by(server.url), texts, step=0)
    assert len(score(judged_by(server.url), texts).failures) == len(texts)


def test_pairwise_against_the_reference_or_a_field(server):
    rewards = judged_by(server.url, kind="pairwise", k=6)
    assert score(rewards, ["short", "much longer than the reference"]).values.tolist() == [[0.0, 1.0]]
    assert len(server.asked) == 4  # both orders
    field = judged_by(server.url, kind="pairwise", k=6, baseline="earlier", both_orders=False)
    assert score(field, ["short"], metadata={"earlier": "tiny"}).values.tolist() == [[1.0]] and len(server.asked) == 5
    assert "has no text in its field 'earlier'" in score(field, ["short"]).failures[0].reason


def test_options_that_cannot_work_are_refused_before_a_run(monkeypatch):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    for options, why in (
        ({"url": ""}, "llm_judge.url: name the judge's server"),
        ({"url": "ftp://x"}, "llm_judge: the endpoint's URL must begin"),
        ({"model": ""}, "llm_judge.model: name the judge"),
        ({"kind": "listwise"}, "llm_judge.kind='listwise': choose pointwise or pairwise"),
        ({"both_orders": False}, "both_orders=False changes nothing for a pointwise judge"),
        ({"k": 9}, "k=9 demonstrations: there are 6"),
        ({"rubric": "none.json"}, "rubric file none.json"),
        ({"api_key_env": "JUDGE_KEY"}, "llm_judge.api_key_env=JUDGE_KEY: this environment variable is not set"),
        ({"attempts": 0}, "llm_judge: endpoint attempts=0 must be positive"),
        ({"kk": 3}, "no such option; did you mean k"),
    ):
        with pytest.raises(ValueError, match=why):
            judged_by("http://127.0.0.1:9/v1", **options)


@pytest.mark.slow
def test_our_own_server_as_the_judge():
    """nano is no judge: it answers with a number or so, whatever it is asked, and that is read."""
    with serving("--checkpoint=nano", "--max_new_tokens=8") as (_, url):
        scored = score(judged_by(url, model="nano", k=0, max_tokens=8, timeout=WAIT), ["4", "score: 10"])
    assert not scored.failures and ((scored.values >= 0) & (scored.values <= 1)).all()
