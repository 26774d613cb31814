"""Requests and replies against OpenAI's own types and the documented protocol."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from rrft_jax.rollout.sampling import Sampling
from rrft_jax.serving.protocol import (
    ApiError,
    ChatRequest,
    Choice,
    Message,
    PictureUrl,
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
    picture = PictureUrl("data:image/png;base64,AA==", "messages[1].content[1].image_url.url")
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


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def user(*content):
    return {"messages": [{"role": "user", "content": list(content)}]}


def reply(**fields):
    return {"messages": [*HELLO, {"role": "assistant", "content": "A cube.", **fields}, *HELLO]}


REFUSED = {
    "temperature": [-1, 2.5, "hot", True, 1e-9],
    "top_p": [0, 1.1, [], 10**400],
    "top_k": [-1, 1.5],
    "n": [0, 1.0, "2"],
    "seed": [1.5, "a"],
    "max_tokens": [0, -1, 2.5],
    "stop": [[""], ["a"] * 5, 3, {"a": 1}, "x" * 1001, ["a", "x" * 600_000]],
    "stream": ["yes", 1],
    "stream_options": [{"include_usage": True}, 1],
    "messages": [[], "Hello", [{"role": "assistant", "content": "x"}]],
    "messages[0].role": [{"messages": [{"role": r, "content": "x"}]} for r in ("tool", None, 3, ["user"])],
    "messages[0].content": [{"messages": [{"role": "user", "content": c}]} for c in ([], None, 3)],
    "messages[0].content[0]": [user(x) for x in ("a", {"type": "text"}, {"type": "input_audio"}, {"text": "a"})],
    "messages[0].content[0].foo": [user({"type": "text", "text": "a", "foo": 1}), user({**IMAGE, "foo": [1]})],
    "messages[0].content[0].image_url.max_pixels": [user(IMAGE | {"image_url": {"url": "data:", "max_pixels": 1}})],
    "messages[0].content[0].image_url.detail": [user(IMAGE | {"image_url": {"url": "data:", "detail": "most"}})],
    "messages[0].foo": [{"messages": [{"role": "user", "content": "x", "foo": 1}]}],
    "messages[0].annotations": [{"messages": [{"role": "user", "content": "x", "annotations": []}]}],
    "messages[0].name": [{"messages": [{"role": "user", "content": "x", "name": 3}]}],
    "messages[1].tool_calls": [reply(tool_calls=[{"id": "a"}]), reply(tool_calls={})],
    "messages[1].function_call": [reply(function_call={"name": "f", "arguments": ""})],
    "messages[1].audio": [reply(audio={"id": "a"})],
    "messages[1].annotations": [reply(annotations={}), reply(annotations="a")],
    "messages[1].refusal": [reply(refusal=3)],
    "messages[1].foo": [reply(foo=1)],
    "messages[0].content[0].image_url": [user({"type": "image_url", "image_url": x}) for x in ("data:", None, {})],
    "messages[1].role": [{"messages": HELLO + [{"role": "system", "content": "x"}] + HELLO}],
    "tools": [[{"type": "function"}]],
    "logprobs": [True],
    "frequency_penalty": [0.5],
    "response_format": [{"type": "json_object"}],
    "best_of": [2],
    "audio": [{"voice": "a", "format": "wav"}],
    "reasoning_effort": ["high"],
}


@pytest.mark.parametrize("param", REFUSED)
def test_refusals_name_the_field(param):
    for value in REFUSED[param]:
        with pytest.raises(ApiError) as caught:
            parse(**(value if isinstance(value, dict) and "messages" in value else {param: value}))
        assert caught.value.status == 400 and caught.value.param == param, value
        assert caught.value.body["error"].keys() == {"message", "type", "param", "code"}


def test_what_a_client_hands_back_of_a_reply_is_accepted():
    """A message of a reply goes into the next request as the client got it."""
    message = {"role": "assistant", "content": "A cube.", "refusal": None}
    ours = completion("id", 12, "m", [Choice("A cube.", 3, "stop")], 10)["choices"][0]["message"]
    cited = [{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 1, "title": "", "url": ""}}]
    empty = {"audio": None, "function_call": None, "tool_calls": []}
    for fields in ({}, empty, empty | {"annotations": []}, {"tool_calls": None, "annotations": cited}, {"refusal": ""}):
        read = ChatCompletionMessage.model_validate(message | fields)
        for form in (message | fields, ours, read.model_dump(), read.model_dump(exclude_unset=True)):
            got = parse(messages=[*HELLO, form, *HELLO]).messages
            assert got[1] == Message("assistant", ("A cube.",))
    for refused in ({"content": None, "refusal": "No."}, {"content": [{"type": "refusal", "refusal": "No."}]}):
        got = parse(messages=[*HELLO, {"role": "assistant", **refused}, *HELLO]).messages
        assert got[1] == Message("assistant", ("No.",))


def test_every_field_that_openai_knows_is_known_here():
    """One of them is never called unknown; one that OpenAI does not know is refused as OpenAI does."""
    for name in CompletionCreateParamsNonStreaming.__annotations__ | {"stream": 0}:
        try:
            parse(**{name: {"not": "null"}})
        except ApiError as error:
            assert error.code != "unknown_parameter", name
    with pytest.raises(ApiError) as caught:
        parse(**{"x" * 10_000: 1})
    assert caught.value.code == "unknown_parameter"
    assert len(str(caught.value)) < 1000 and len(caught.value.param) < 1000, "an error does not repeat megabytes"


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
    answers = [Choice("yes", 3, "stop"), Choice("no ü", 4, "length")]
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
