"""Requests and replies against OpenAI's own types and the documented protocol."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from rrft_jax.rollout.sampling import Sampling
from rrft_jax.serving.protocol import (
    Answer,
    ApiError,
    ChatRequest,
    Message,
    Picture,
    chunk,
    completion,
    event,
    parse_request,
    usage_chunk,
)

HELLO = [{"role": "user", "content": "Hello"}]


def parse(**fields):
    return parse_request(json.dumps({"model": "m", "messages": HELLO} | fields).encode())


def test_defaults_are_those_of_the_protocol():
    assert parse() == ChatRequest("m", (Message("user", ("Hello",)),), Sampling(1.0, 0, 1.0))
    nothing = dict.fromkeys(("temperature", "top_p", "n", "stop", "stream", "seed", "max_tokens", "tools"))
    assert parse(**nothing) == parse(), "null is the same as absent"


def test_every_field_arrives():
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "Look: "},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "high"}},
            {"type": "text", "text": "What is it?"},
        ]},
        {"role": "assistant", "content": "A cube.", "refusal": None},
        {"role": "user", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "its colour?"}]},
    ]  # fmt: skip
    got = parse(
        messages=messages, temperature=0.5, top_p=0.9, top_k=50, max_completion_tokens=7, seed=-3, stop="\n",
        stream=True, stream_options={"include_usage": True}, user="me", frequency_penalty=0, logprobs=False,
        response_format={"type": "text"},
    )  # fmt: skip
    picture = Picture("data:image/png;base64,AA==", "messages[1].content[1].image_url.url")
    assert got == ChatRequest(
        "m",
        (
            Message("system", ("Be brief.",)),
            Message("user", ("Look: ", picture, "What is it?")),
            Message("assistant", ("A cube.",)),
            Message("user", ("And its colour?",)),
        ),
        Sampling(0.5, 50, 0.9), 7, 1, -3, ("\n",), True, True,
    )  # fmt: skip
    assert parse(n=3, stop=["a", "b"], max_tokens=5).n == 3
    assert parse(temperature=0, top_p=0.5, top_k=3).sampling == Sampling(0.0), "greedy has one form"


def user(*content):
    return {"messages": [{"role": "user", "content": list(content)}]}


REFUSED = {
    "temperature": [-1, 2.5, "hot", True, 1e-9],
    "top_p": [0, 1.1, [], 10**400],
    "top_k": [-1, 1.5],
    "n": [0, 1.0, "2"],
    "seed": [1.5, "a"],
    "max_tokens": [0, -1, 2.5],
    "stop": [[""], ["a"] * 5, 3, {"a": 1}],
    "stream": ["yes", 1],
    "stream_options": [{"include_usage": True}, 1],
    "messages": [[], "Hello", [{"role": "assistant", "content": "x"}]],
    "messages[0].role": [{"messages": [{"role": r, "content": "x"}]} for r in ("tool", None, 3, ["user"])],
    "messages[0].content": [{"messages": [{"role": "user", "content": c}]} for c in ([], None, 3)],
    "messages[0].content[0]": [user(x) for x in ("a", {"type": "text"}, {"type": "input_audio"}, {"text": "a"})],
    "messages[0].content[0].image_url": [user({"type": "image_url", "image_url": x}) for x in ("data:", None, {})],
    "messages[1].role": [{"messages": HELLO + [{"role": "system", "content": "x"}] + HELLO}],
    "tools": [[{"type": "function"}]],
    "logprobs": [True],
    "frequency_penalty": [0.5],
    "response_format": [{"type": "json_object"}],
    "best_of": [2],
}


@pytest.mark.parametrize("param", REFUSED)
def test_refusals_name_the_field(param):
    for value in REFUSED[param]:
        with pytest.raises(ApiError) as caught:
            parse(**(value if isinstance(value, dict) and "messages" in value else {param: value}))
        assert caught.value.status == 400 and caught.value.param == param, value
        assert caught.value.body["error"].keys() == {"message", "type", "param", "code"}


def test_combinations_that_contradict():
    for fields in ({"n": 2, "stream": True}, {"max_tokens": 3, "max_completion_tokens": 4}):
        with pytest.raises(ApiError):
            parse(**fields)
    assert parse(max_tokens=3, max_completion_tokens=3).max_tokens == 3


def test_images_of_the_assistant_are_refused():
    part = {"type": "image_url", "image_url": {"url": "data:"}}
    with pytest.raises(ApiError, match="only the user's"):
        parse(messages=[*HELLO, {"role": "assistant", "content": [part]}, *HELLO])


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"model": "m"}', b'{"messages": []}', b"[" * 100_000,
     b'{"model": 3, "messages": [{"role": "user", "content": "a"}]}',
     b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
     b'{"\xed\xa0\x80": 1}', b'{"model": "m", "messages": [{"role": "user", "content": "\xed\xa0\x80"}]}',
     '{"model": "m", "messages": [{"role": "user", "content": "a"}]}'.encode("utf-16"),
     b'{"model": "m", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}'],
)  # fmt: skip
def test_bodies_that_are_no_request(body):
    with pytest.raises(ApiError) as caught:
        parse_request(body)
    assert caught.value.status == 400
    json.dumps(caught.value.body, ensure_ascii=False).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "type", "text"]), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*REFUSED, "model", "messages", "user"]), JSON))
def test_any_json_is_parsed_or_refused(fields):
    try:
        parse_request(json.dumps({"model": "m", "messages": HELLO} | fields).encode())
    except ApiError as error:
        assert error.status == 400


def test_replies_are_openais():
    answers = [Answer("yes", 3, "stop"), Answer("no ü", 4, "length")]
    reply = ChatCompletion.model_validate(completion("id", 12, "m", answers, 10), strict=True)
    assert [c.message.content for c in reply.choices] == ["yes", "no ü"]
    assert [c.finish_reason for c in reply.choices] == ["stop", "length"]
    assert [c.index for c in reply.choices] == [0, 1]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (10, 7, 17)
    parts = [
        chunk("id", 12, "m", {"role": "assistant", "content": ""}),
        chunk("id", 12, "m", {"content": "ye\ns ü"}),
        chunk("id", 12, "m", {}, "stop"),
        usage_chunk("id", 12, "m", answers[:1], 10),
    ]
    read = [json.loads(event(part).removeprefix("data: ")) for part in parts]
    chunks = [ChatCompletionChunk.model_validate(part, strict=True) for part in read]
    assert chunks[1].choices[0].delta.content == "ye\ns ü" and chunks[2].choices[0].finish_reason == "stop"
    assert chunks[3].choices == [] and chunks[3].usage.total_tokens == 13
    assert all(event(part).count("\n") == 2 for part in parts) and event("[DONE]") == "data: [DONE]\n\n"
