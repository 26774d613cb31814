"""OpenAI's chat completions as data: the body of a request, the bodies of replies, chunks and errors. No I/O.

Fields that would change the answer and that this server does not have are refused unless they are at the value that
turns them off; fields that only label a request are accepted; fields that OpenAI does not know are refused, as there.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rrft_jax.rollout.sampling import Sampling

# What has no effect on the answer: labels for the caller's own books.
_LABELS = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "parallel_tool_calls", "prediction",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
}  # fmt: skip
# What would have one, with the value that asks for nothing; null does so everywhere.
_OFF = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
    "tools": [],
    "tool_choice": "none",
    "functions": [],
    "function_call": "none",
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "audio": None,
    "moderation": None,
    "reasoning_effort": "none",
    "verbosity": "medium",
    "web_search_options": None,
}
_READ = {
    "model", "messages", "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "n", "seed", "stop",
    "stream", "stream_options",
}  # fmt: skip
_HUGE = 1e300  # beyond it an integer of JSON is no float any more
_LEAST_TEMPERATURE, _MOST_TEMPERATURE = 1e-3, 2.0
_MOST_STOPS, _LONGEST_STOP = 4, 1000  # characters
# Fields of a message besides role, content and name. An assistant's may be a reply of a server, given back as it came.
_OF_ASSISTANT = ("refusal", "annotations", "audio", "function_call", "tool_calls")
_SHOWN = 500  # characters of an error, which may quote what a client sent


class ApiError(Exception):
    """An answer with an HTTP status other than 200. param: the field at fault; retry_after: seconds."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ):
        super().__init__(_cut(message))
        self.status, self.param, self.code, self.retry_after = status, param and _cut(param), code, retry_after

    @property
    def body(self) -> dict:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


Default = TypeVar("Default", bound=int | None)


@dataclass(frozen=True)
class Picture:
    """An image of a message by its URL, not yet looked at. param: where in the request it stands."""

    url: str
    param: str


@dataclass(frozen=True)
class Message:
    """role: 'system', 'user' or 'assistant'; parts in the order in which they were given."""

    role: str
    parts: tuple[str | Picture, ...]


@dataclass(frozen=True)
class ChatRequest:
    """What a client asks for. max_tokens, seed: None where the client leaves them to the server."""

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    max_tokens: int | None = None
    n: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False


@dataclass(frozen=True)
class Answer:
    """One finished choice. tokens: how many were drawn, an EOS included; reason: 'stop' or 'length'."""

    text: str
    tokens: int
    reason: str


def parse_request(body: bytes) -> ChatRequest:
    """The request in a body. Raises ApiError (400) that names the field."""
    try:
        fields = json.loads(body.decode())  # of bytes, json would take other encodings and halves of characters
        if b"\\u" in body:  # an escape may be half a character, which is no text
            json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not valid JSON") from None
    if not isinstance(fields, dict):
        raise ApiError(400, "the body must be a JSON object")
    fields = _given(fields)
    _refuse_unknown(fields)
    for name in ("model", "messages"):
        if name not in fields:
            raise ApiError(400, f"{name} is missing", name)
    if not isinstance(fields["model"], str):
        raise ApiError(400, "model must be a string", "model")
    stream = _flag(fields, "stream")
    n = _integer(fields, "n", 1, least=1)
    if stream and n > 1:
        raise ApiError(400, f"n={n} with stream: several answers come only whole; ask with stream=false", "n")
    return ChatRequest(
        model=fields["model"],
        messages=_messages(fields["messages"]),
        sampling=_sampling(fields),
        max_tokens=_max_tokens(fields),
        n=n,
        seed=_integer(fields, "seed", None),
        stop=_stop(fields.get("stop", [])),
        stream=stream,
        include_usage=_include_usage(fields, stream),
    )


def completion(id: str, created: int, model: str, answers: Sequence[Answer], prompt_tokens: int) -> dict:
    """The body of a whole reply, one choice per answer."""
    choices = [
        {
            "index": k,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "logprobs": None,
            "finish_reason": answer.reason,
        }
        for k, answer in enumerate(answers)
    ]
    head = {"id": id, "object": "chat.completion", "created": created, "model": model}
    return head | {"choices": choices, "usage": _usage(prompt_tokens, answers)}


def chunk(id: str, created: int, model: str, delta: Mapping[str, str], reason: str | None = None) -> dict:
    """The body of one event of a streamed reply. reason: None until the last one."""
    choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": reason}
    return {"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": [choice]}


def usage_chunk(id: str, created: int, model: str, answers: Sequence[Answer], prompt_tokens: int) -> dict:
    """The event after the last one of a stream that asked for stream_options.include_usage."""
    return chunk(id, created, model, {}) | {"choices": [], "usage": _usage(prompt_tokens, answers)}


def event(data: Mapping | str) -> str:
    """One server-sent event."""
    return f"data: {data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}\n\n"


def model_list(name: str, created: int) -> dict:
    """The body of /v1/models."""
    model = {"id": name, "object": "model", "created": created, "owned_by": "rrft_jax"}
    return {"object": "list", "data": [model]}


def _usage(prompt_tokens: int, answers: Sequence[Answer]) -> dict:
    drawn = sum(answer.tokens for answer in answers)
    return {"prompt_tokens": prompt_tokens, "completion_tokens": drawn, "total_tokens": prompt_tokens + drawn}


def _refuse_unknown(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if name in _OFF:
            if value != _OFF[name]:
                raise _unsupported(name)
        elif name not in _READ | _LABELS:
            raise _unknown(name)


def _unsupported(where: str) -> ApiError:
    return ApiError(400, f"{where} is not supported by this server: leave it out", where, "unsupported_parameter")


def _unknown(where: str) -> ApiError:
    return ApiError(400, f"unknown field {where!r}: leave it out", where, "unknown_parameter")


def _refuse_others(fields: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in fields:
        if name not in known:
            raise _unknown(f"{where}.{name}")


def _sampling(fields: Mapping[str, Any]) -> Sampling:
    temperature, top_p = _number(fields, "temperature", 1.0), _number(fields, "top_p", 1.0)
    top_k = _integer(fields, "top_k", 0, least=0)
    if temperature and not _LEAST_TEMPERATURE <= temperature <= _MOST_TEMPERATURE:
        span = f"0 (greedy) or between {_LEAST_TEMPERATURE} and {_MOST_TEMPERATURE}"
        raise ApiError(400, f"temperature={temperature} must be {span}", "temperature")
    if not 0 < top_p <= 1:
        raise ApiError(400, f"top_p={top_p} must lie in (0, 1]", "top_p")
    # Greedy decoding has no use for the other two, and equal settings share a program.
    return Sampling(temperature, top_k, top_p) if temperature else Sampling(0.0)


def _max_tokens(fields: Mapping[str, Any]) -> int | None:
    new, old = (_integer(fields, name, None, least=1) for name in ("max_completion_tokens", "max_tokens"))
    if new is not None and old is not None and new != old:
        raise ApiError(400, f"max_tokens={old} and max_completion_tokens={new} differ: give one", "max_tokens")
    return old if new is None else new


def _include_usage(fields: Mapping[str, Any], stream: bool) -> bool:
    options = fields.get("stream_options", {})
    if not isinstance(options, dict) or not options.keys() <= {"include_usage", "include_obfuscation"}:
        raise ApiError(400, "stream_options must be an object with include_usage alone", "stream_options")
    if options and not stream:
        raise ApiError(400, "stream_options is given without stream=true", "stream_options")
    if options.get("include_obfuscation"):
        raise ApiError(400, "stream_options.include_obfuscation is not supported: leave it out", "stream_options")
    return _flag(options, "include_usage")


def _stop(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS or not all(isinstance(x, str) and x for x in stops):
        raise ApiError(400, f"stop must be a text or a list of at most {_MOST_STOPS} texts, none empty", "stop")
    for k, text in enumerate(stops):
        if len(text) > _LONGEST_STOP:
            what = f"stop[{k}] has {len(text)} characters, more than the {_LONGEST_STOP} of a stop text"
            raise ApiError(400, what, "stop")
    return tuple(stops)


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise ApiError(400, "messages must be a list that is not empty", "messages")
    messages = tuple(_message(item, f"messages[{k}]") for k, item in enumerate(value))
    if messages[-1].role != "user":
        raise ApiError(400, "the last message must be the user's", "messages")
    for k, message in enumerate(messages):
        if message.role == "system" and k:
            raise ApiError(400, f"messages[{k}]: a system message can only come first", f"messages[{k}].role")
    return messages


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, dict):
        raise ApiError(400, f"{where} must be an object with role and content", where)
    role = "system" if item.get("role") == "developer" else item.get("role")
    if not isinstance(role, str) or role not in ("system", "user", "assistant"):
        raise ApiError(400, f"{where}.role must be system, developer, user or assistant", f"{where}.role")
    item = _given(item)
    assistant = role == "assistant"
    _refuse_others(item, ("role", "content", "name", *(_OF_ASSISTANT if assistant else ())), where)
    for name, kind in (("name", str), ("refusal", str), ("annotations", list)):
        if not isinstance(item.get(name, kind()), kind):
            raise ApiError(400, f"{where}.{name} must be a {'list' if kind is list else 'string'}", f"{where}.{name}")
    for name in ("audio", "function_call", "tool_calls"):
        if item.get(name, []) != []:
            raise _unsupported(f"{where}.{name}")
    content = item.get("content", item.get("refusal"))
    if isinstance(content, str):
        return Message(role, (content,))
    if not isinstance(content, list) or not content:
        raise ApiError(400, f"{where}.content must be a text or a list of parts that is not empty", f"{where}.content")
    parts = tuple(_part(part, role, f"{where}.content[{k}]") for k, part in enumerate(content))
    # The template's part for a text-only message is one string, whatever pieces it came in.
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) == len(parts):
        return Message(role, ("".join(texts),))
    return Message(role, tuple(part for part in parts if part != ""))


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """null is the same as absent."""
    return {name: value for name, value in fields.items() if value is not None}


def _part(part: Any, role: str, where: str) -> str | Picture:
    part = _given(part) if isinstance(part, dict) else {}
    kind = part.get("type")
    texts = ("text", "refusal") if role == "assistant" else ("text",)
    if kind in texts and isinstance(part.get(kind), str):
        _refuse_others(part, ("type", kind), where)
        return part[kind]
    if kind != "image_url":
        raise ApiError(400, f"{where} must be a part of type text or image_url", where)
    if role != "user":
        raise ApiError(400, f"{where}: only the user's messages may hold images", where)
    _refuse_others(part, ("type", "image_url"), where)
    where = f"{where}.image_url"
    image = _given(part["image_url"]) if isinstance(part.get("image_url"), dict) else {}
    if not isinstance(image.get("url"), str):
        raise ApiError(400, f"{where} must be an object with a url", where)
    _refuse_others(image, ("url", "detail"), where)
    if image.get("detail", "auto") not in ("auto", "low", "high"):
        raise ApiError(400, f"{where}.detail must be auto, low or high", f"{where}.detail")
    return Picture(image["url"], f"{where}.url")


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool | None):
        raise ApiError(400, f"{name} must be true or false", name)
    return bool(value)


def _integer(fields: Mapping[str, Any], name: str, default: Default, least: int | None = None) -> int | Default:
    value = fields.get(name, default)
    if value is default:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        bound = "" if least is None else f" of at least {least}"
        raise ApiError(400, f"{name} must be a whole number{bound}", name)
    return value


def _number(fields: Mapping[str, Any], name: str, default: float) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise ApiError(400, f"{name} must be a number", name)
    return float(min(abs(value), _HUGE)) * (-1 if value < 0 else 1)
