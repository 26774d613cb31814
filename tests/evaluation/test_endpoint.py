"""Asking a served model through faults: every reply once, failures by name at the end, the key nowhere."""

import asyncio
import base64
import io
import logging
import time
import traceback
from dataclasses import replace

import numpy as np
import openai
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rrft_jax.evaluation.endpoint import Unanswered, make_answerer, messages_of, png_url, request_seed
from rrft_jax.evaluation.questions import PAPER, Question, Reply
from rrft_jax.remote.endpoint import Decoding, Endpoint, EndpointError, key_in_clear, mask_key, settings
from rrft_jax.remote.pacing import backoff
from tests.web import WAIT, Faults, running

KEY = "sk-test-0123456789abcdefghij"


def say(body, n=1, tokens=4, **choice):
    """A reply that repeats the question and tells the seed."""
    text = body["messages"][-1]["content"][-1]["text"]
    message = {"role": "assistant", "content": f"{text}! {body.get('seed')}"}
    choices = [{"index": k, "message": message, "finish_reason": "stop"} | choice for k in range(n)]
    return {"id": "i", "object": "chat.completion", "created": 1, "model": "m", "choices": choices,
            "usage": {"completion_tokens": tokens, "prompt_tokens": 1, "total_tokens": tokens + 1}}  # fmt: skip


def questions(count):
    return [Question(f"id{k}", k, f"q{k}") for k in range(count)]


def endpoint(url, **fields):
    return Endpoint(url, "m", **{"timeout": WAIT, "first_wait": 0.01, "longest_wait": 0.02, **fields})


def ask(faults, asked, decoding=Decoding(), **fields):  # noqa: B008
    """All replies, and the error at the end."""
    replies = []
    with running(faults.app) as url:
        try:
            for reply in make_answerer(endpoint(url, **fields), decoding)(asked):
                replies.append(reply)
        except ValueError as error:
            return replies, error
    return replies, None


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_every_reply_comes_once_through_every_fault():
    plan = {f"q{k}": [fault] for k, fault in enumerate(f for f in Faults.FAULTS if f != "hang")}
    plan["q10"] = ["500", "malformed", "429", "cut"]
    faults = Faults(say, plan)
    replies, error = ask(faults, questions(20))
    assert error is None
    seeds = {k: request_seed(0, k, 0) for k in range(20)}
    assert sorted(replies, key=lambda r: int(r.id[2:])) == [
        Reply(f"id{k}", (f"q{k}! {seeds[k]}",), (4,), (True,)) for k in range(20)
    ]
    assert faults.passed == {f"q{k}": 1 for k in range(20)}
    assert faults.asked == {f"q{k}": 1 + len(plan.get(f"q{k}", [])) for k in range(20)}
    assert faults.most_at_once <= 8


def test_a_reply_that_breaks_the_parser_costs_one_attempt():
    deep = lambda request, body: Response("[" * 100_000, media_type="application/json")  # noqa: E731
    far = {"Retry-After": "Mon, 01 Jan 2024 00:00:00 +99999999999999"}
    late = lambda request, body: JSONResponse({"error": {"message": "slow"}}, 429, far)  # noqa: E731
    replies, error = ask(Faults(say, {"q0": [deep], "q1": [late]}), questions(3))
    assert error is None and {reply.id for reply in replies} == {"id0", "id1", "id2"}


def test_the_least_waits_together_outlast_a_limit_per_minute():
    """Not every server sends Retry-After with its 429."""
    e = Endpoint("http://a/v1", "m")
    assert sum(backoff(k, e.first_wait, e.longest_wait, lambda: 0.0) for k in range(1, e.attempts)) >= 60


def test_so_many_requests_at_once():
    """The server answers nothing before four have come; more than four never do."""
    here, most, four = [], [], asyncio.Event()

    async def chat(request):
        here.append(request)
        most.append(len(here))
        if len(here) == 4:
            four.set()
        await four.wait()
        reply = say(await request.json())
        here.pop()
        return JSONResponse(reply)

    with running(Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])) as url:
        replies = list(make_answerer(endpoint(url, concurrency=4), Decoding())(questions(12)))
    assert len({reply.id for reply in replies}) == 12 and max(most) == 4


def test_hanging_request_is_given_up_and_repeated():
    faults = Faults(say, {"q1": ["hang"], "q2": ["hang", "hang"]})
    replies, error = ask(faults, questions(4), timeout=1.0, attempts=100)
    assert error is None and sorted(reply.id for reply in replies) == ["id0", "id1", "id2", "id3"]
    assert faults.asked["q1"] >= 2 and faults.asked["q2"] >= 3


def test_failed_questions_are_listed_after_all_others():
    refuse = lambda request, body: JSONResponse({"error": {"message": "too\nlong"}}, 400)  # noqa: E731
    faults = Faults(say, {"q1": ["500"] * 3, "q3": [refuse], "q4": ["500"] * 2})
    asked = [*questions(8), Question("gone", 8, "q8", ("nowhere.png",))]
    replies, error = ask(faults, asked, attempts=3, concurrency=2)
    assert {reply.id for reply in replies} == {"id0", "id2", "id4", "id5", "id6", "id7"} and len(replies) == 6
    assert isinstance(error, Unanswered) and error.unasked == 0
    assert error.failures["id1"] == "500: on purpose (3 attempts)" and error.failures["id3"] == "400: too long"
    assert "nowhere.png" in error.failures["gone"] and len(error.failures) == 3
    assert faults.asked["q1"] == 3 and faults.asked["q3"] == 1 and faults.asked["q8"] == 0
    assert all(part in str(error) for part in ("3 questions", "id1: 500", "id3: 400", "gone: "))
    again, error = ask(Faults(say, {}), [q for q in asked if q.id in ("id1", "id3")])
    assert error is None and {reply.id for reply in again} == {"id1", "id3"}


def test_dead_server_is_not_asked_for_ever():
    faults = Faults(say, {"": ["500"] * 10**4})
    replies, error = ask(faults, questions(500), attempts=2, concurrency=3, give_up=5)
    assert replies == [] and isinstance(error, Unanswered)
    assert 5 <= len(error.failures) <= 7 and len(error.failures) + error.unasked == 500
    assert "were not asked" in str(error)
    done = endpoint("http://127.0.0.1:9/v1", attempts=2, give_up=1)
    with pytest.raises(Unanswered, match="id0: no connection"):
        list(make_answerer(done, Decoding())(questions(1)))


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, None, "401: the server wants a key: set OPENAI_API_KEY"),
        (403, None, "403: the server wants a key"),
        (404, "model_not_found", "404: no such thing.*model's name"),
        (429, "insufficient_quota", "429: no such thing"),
    ],
)
def test_what_holds_for_all_ends_the_run(status, code, message):
    refuse = lambda request, body: JSONResponse({"error": {"message": "no such thing", "code": code}}, status)  # noqa: E731
    faults = Faults(say, {"q2": [refuse]})
    replies, error = ask(faults, questions(50), concurrency=1)
    assert isinstance(error, EndpointError) and [r.id for r in replies] == ["id0", "id1"]
    assert sum(faults.asked.values()) == 3
    with pytest.raises(EndpointError, match=message):
        raise error


def test_long_patience_ends_the_run():
    wait = lambda request, body: JSONResponse({"error": {"message": "full"}}, 429, {"Retry-After": "86400"})  # noqa: E731
    _, error = ask(Faults(say, {"q0": [wait]}), questions(1))
    assert isinstance(error, EndpointError) and "86400 s" in str(error)


def test_interrupted_run_goes_on_with_the_rest():
    faults, kept = Faults(say, {"q7": ["hang"], "q8": ["hang"]}), []  # the first pass gets no further than these
    with running(faults.app) as url:
        answer = make_answerer(endpoint(url, concurrency=2), Decoding())
        pass_one = answer(questions(30))
        kept += [next(pass_one) for _ in range(5)]
        while not faults.asked["q7"] or not faults.asked["q8"]:
            time.sleep(0.01)
        pass_one.close()
        after = sum(faults.asked.values())
        kept += answer([q for q in questions(30) if q.id not in {reply.id for reply in kept}])
    assert sorted(reply.id for reply in kept) == sorted(q.id for q in questions(30))
    assert after <= 9


def test_interrupt_does_not_wait_for_a_hanging_server():
    with running(Faults(say, {"q1": ["hang"], "q2": ["hang"]}).app) as url:
        replies = make_answerer(endpoint(url), Decoding())(questions(3))
        assert next(replies).id == "id0"
        replies.close()  # returns; the server holds the other two for much longer than any test


def test_samples():
    several = Faults(lambda body: say(body, body["n"], finish_reason="length"), {})
    (reply,), error = ask(several, questions(1), Decoding(samples=3))
    assert error is None and len(reply.texts) == 3 and reply.lengths == (None,) * 3 and reply.finished == (False,) * 3
    assert sum(several.asked.values()) == 1

    alone = Faults(say, {})  # answers once, whatever n is
    replies, error = ask(alone, questions(4), Decoding(samples=3), concurrency=1)
    assert error is None and all(len(set(reply.texts)) == 3 and reply.lengths == (4,) * 3 for reply in replies)
    assert [body.get("n") for body in alone.bodies] == [3, *[None] * 11], "learnt from the first reply"

    refuse = lambda request, body: JSONResponse({"error": {"message": "n is not supported"}}, 400)  # noqa: E731
    strict = Faults(say, {"q0": [refuse]})
    replies, error = ask(strict, questions(2), Decoding(samples=2), concurrency=1)
    assert error is None and [len(reply.texts) for reply in replies] == [2, 2]
    assert [body.get("n") for body in strict.bodies] == [2, None, None, None, None]

    told = Faults(say, {})
    ask(told, questions(1), Decoding(samples=2), leave_out=("n",))
    assert [body.get("n") for body in told.bodies] == [None, None]


def test_refusals_and_empty_answers_are_answers():
    kinds = iter(
        [{"message": {"content": None, "refusal": "I will not."}}, {"message": {"content": None}},
         {"message": {"content": ""}, "finish_reason": "length"}]
    )  # fmt: skip
    replies, error = ask(Faults(lambda body: say(body, **next(kinds)), {}), questions(3), concurrency=1)
    assert error is None
    assert [reply.texts for reply in replies] == [("I will not.",), ("",), ("",)]
    assert [reply.finished for reply in replies] == [(True,), (True,), (False,)]


def test_rate():
    faults = Faults(say, {})
    begun = time.monotonic()
    replies, _ = ask(faults, questions(4), requests_per_minute=240)
    assert len(replies) == 4 and time.monotonic() - begun >= 3 * 60 / 240


def test_request_holds_what_was_asked_for():
    faults = Faults(say, {})
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    question = Question("a", 3, "How many?", (image,), system="Count.")
    ask(faults, [question], replace(PAPER, samples=2, seed=9))
    sent = faults.bodies[0]
    assert sent["messages"][0] == {"role": "system", "content": "Count."}
    picture, text = sent["messages"][1]["content"]
    assert text == {"type": "text", "text": "How many?"}
    data = base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), image)
    rest = {k: v for k, v in sent.items() if k != "messages"}
    assert rest == {
        "model": "m", "temperature": 0.1, "top_p": 0.9, "top_k": 50, "max_tokens": 768, "n": 2,
        "seed": request_seed(9, 3, 0),
    }  # fmt: skip
    assert faults.headers[0]["authorization"] == "Bearer none"


def test_settings_leave_out_what_is_off_or_refused():
    here = Endpoint("http://a/v1", "m", leave_out=("seed", "top_k"), max_tokens_name="max_completion_tokens")
    assert settings(here, Decoding(max_new_tokens=5), 1, 3) == {"temperature": 0.0, "max_completion_tokens": 5}
    assert settings(here, PAPER, 1, 3) == {"temperature": 0.1, "top_p": 0.9, "max_completion_tokens": 768}
    bare = replace(here, leave_out=("seed", "top_k", "top_p", "temperature", "n", "max_tokens"))
    assert settings(bare, PAPER, 4, 3) == {}


def test_seeds_are_addressed():
    seeds = {request_seed(s, k, i) for s in range(4) for k in range(20) for i in range(4)}
    assert len(seeds) == 320 and all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "CMYK", "1", "I;16"])
def test_pixels_of_every_mode_arrive(mode, tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8))
    image = Image.new("I;16", (9, 8), 300) if mode == "I;16" else image.convert(mode)
    url = png_url(image)
    got = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
    expected = np.full((8, 9, 3), 300 // 256) if mode == "I;16" else np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(got.convert("RGB")), expected)
    image.convert("RGB").save(tmp_path / "a.png")
    assert messages_of(Question("a", 0, "t", (tmp_path / "a.png",)))[0]["content"][0]["type"] == "image_url"


def test_key_is_sent_and_appears_nowhere(monkeypatch, caplog, capfd):
    """A server that quotes the key wherever it can: in errors, in a text, in JSON that is none."""
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    caplog.set_level(logging.DEBUG)
    quote = lambda status: lambda request, body: JSONResponse(  # noqa: E731
        {"error": {"message": f"bad {request.headers['authorization']}", "code": KEY}}, status
    )
    plan = {"q0": [quote(400)], "q1": [quote(500)] * 2, "q2": [quote(418)], "q4": ["429"], "q5": ["malformed"] * 2}
    faults = Faults(lambda body: say(body, message={"content": f"You sent {KEY}."}), plan)
    here = {"api_key_env": "MY_KEY", "attempts": 2, "concurrency": 1}
    replies, error = ask(faults, questions(8), **here)
    assert [reply.texts for reply in replies] == [("You sent ***.",)] * 4 and len(error.failures) == 4
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in faults.headers)
    assert "bad Bearer ***" in error.failures["id0"]
    fatal = [ask(Faults(say, {"q0": [quote(status)]}), questions(1), **here)[1] for status in (401, 404)]
    assert "the server refused the key in MY_KEY" in str(fatal[0])
    texts = [caplog.text, *capfd.readouterr(), repr(replies), repr(Endpoint("http://a/v1", "m", api_key_env="MY_KEY"))]
    for one in (error, *fatal):
        texts += [str(one), repr(one), "".join(traceback.format_exception(one))]
        while one is not None:  # nor does a request with its headers hang on to an error
            assert not isinstance(one, openai.OpenAIError)
            one = one.__cause__ or one.__context__
    assert caplog.text, "logging was on"
    assert not [text for text in texts if KEY in text or KEY[:12] in text]


@pytest.mark.parametrize("part", [slice(20), slice(5, 20), slice(-8, None), slice(6), slice(1, None)])
@pytest.mark.parametrize("case", [str, str.upper])
def test_a_part_of_the_key_is_masked_in_every_error(monkeypatch, part, case):
    monkeypatch.setenv("MY_KEY", KEY)
    piece = case(KEY[part])
    said = {"error": {"message": f"Incorrect key '{piece}...' ({piece})", "code": "x"}}
    quote = lambda status: lambda request, body: JSONResponse(said, status)  # noqa: E731
    text = lambda request, body: Response(f"no JSON: {piece}", media_type="application/json")  # noqa: E731
    plan = {"q0": [quote(400)], "q1": [quote(422)], "q2": [quote(503)], "q3": [text]}
    here = {"api_key_env": "MY_KEY", "attempts": 1, "concurrency": 1}
    _, error = ask(Faults(say, plan), questions(4), **here)
    _, fatal = ask(Faults(say, {"q0": [quote(404)]}), questions(1), **here)
    assert len(error.failures) == 4 and isinstance(fatal, EndpointError)
    assert error.failures["id0"] == "400: Incorrect key '***...' (***)"
    for why in (*error.failures.values(), str(fatal)):
        assert piece.lower() not in why.lower(), why


def test_masking_leaves_ordinary_text():
    key = "sk-proj-abcdefghijkl0123456789"
    assert mask_key("İ sk-proj is how a project's key begins; abcde too", key, 16) == (
        "İ sk-proj is how a project's key begins; abcde too"
    )
    assert mask_key(f"a {key}{key} b {key[3:19]} c", key, 16) == "a ****** b *** c"
    assert mask_key("none", "none", 6) == "none" and mask_key("any", None, 6) == "any", "no key, only a placeholder"
    assert mask_key("key12345", "key12345", 16) == "***", "a key shorter than the pieces"


def test_keys_that_are_none(monkeypatch):
    with pytest.raises(ValueError, match="--api_key_env=NO_KEY: .* not set"):
        make_answerer(Endpoint("http://a/v1", "m", api_key_env="NO_KEY"), Decoding())
    for bad in ("sk-12 34567890", "sk-ü1234567890", "sk-1\x00"[:-1] + "\x07"):
        monkeypatch.setenv("NO_KEY", bad)
        with pytest.raises(ValueError, match="NO_KEY holds") as caught:
            make_answerer(Endpoint("http://a/v1", "m", api_key_env="NO_KEY"), Decoding())
        assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "api.openai.com/v1"}, "must begin with http"),
        ({"url": "ftp://a/v1"}, "must begin with http"),
        ({"url": f"https://user:{KEY}@a/v1"}, "no user, password or query"),
        ({"url": f"https://a/v1?key={KEY}"}, "no user, password or query"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"timeout": -1.0}, "timeout=-1.0"),
        ({"requests_per_minute": -1.0}, "requests_per_minute"),
        ({"leave_out": ("stop",)}, "choose from temperature"),
    ],
)
def test_settings_that_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message) as caught:
        Endpoint(**{"url": "http://a/v1", "model": "m", **fields})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "url, key, clear",
    [
        ("http://gpu-box:8000/v1", KEY, True),
        ("http://10.0.0.7:8000/v1", KEY, True),
        ("https://gpu-box/v1", KEY, False),
        ("http://localhost:8000/v1", KEY, False),
        ("http://127.0.0.1:8000/v1", KEY, False),
        ("http://[::1]:8000/v1", KEY, False),
        ("http://gpu-box:8000/v1", "EMPTY", False),
        ("http://gpu-box:8000/v1", "", False),
    ],
)
def test_a_key_without_encryption_is_noticed(monkeypatch, url, key, clear):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    assert key_in_clear(Endpoint(url, "m")) is clear
