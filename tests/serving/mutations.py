"""Requests that go wrong in every layer: bytes of HTTP, headers, JSON, fields, pictures, and clients that leave."""

import base64
import copy
import io
import json
import random
from dataclasses import dataclass

import h11
import numpy as np
from PIL import Image

MODES = {
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"), "JPEG": ("RGB", "L", "CMYK"), "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L"), "BMP": ("RGB",), "TIFF": ("RGB", "CMYK", "F"), "PPM": ("RGB",),
}  # fmt: skip
PATH = "/v1/chat/completions"
# What replaces a value somewhere in a request. Sampling settings that are valid are few: each is a program to compile.
ODD = (
    None, True, False, 0, -1, 2, 5, 10**400, -(2**63), 1e308, -0.0, float("nan"), float("inf"), "", "a", "\x00",
    "\ud800", "😀" * 50, "<|im_end|>" * 30, "<|image_pad|>", "é" * 5000, "a" * 700_000, " " * 700_000,
    "ab" * 300_000, [], [[]], {}, [None], [1, "a"], {"a": 1}, {"type": "text"}, ["x" * 20_000] * 4,
    [{"role": "user", "content": "a"}] * 3,
    "data:image/png;base64,AAAA", "http://127.0.0.1:9/a.png", "assistant", "tool", "json_object",
)  # fmt: skip
FIELDS = (
    "stop", "n", "seed", "top_k", "top_p", "temperature", "max_tokens", "max_completion_tokens", "stream",
    "stream_options", "tools", "tool_choice", "response_format", "logit_bias", "logprobs", "user", "metadata",
    "best_of", "functions", "prediction", "messages", "model", "annotations", "name", "detail", "x" * 3000,
)  # fmt: skip
INSERTED = (b'"', b"{", b"[" * 50_000, b"\\ud800", b"\xff", b"\x00", b"1" * 5000, b"\r\n", b",")
NO_HTTP = (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00" * 9000)


@dataclass(frozen=True)
class Request:
    """The bytes of a request. leave: how the client ends: after the answer (None), or without waiting for it, by
    closing ('close') or resetting ('reset') the connection."""

    sent: bytes
    leave: str | None


def picture(rng: random.Random) -> bytes:
    kind = rng.choice(list(MODES))
    mode = rng.choice(MODES[kind])
    height, width = rng.choice([(56, 56), (28, 140), (57, 31), (1, 1), (1, 600)])
    array = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(array).convert(mode).save(out, kind)
    data = bytearray(out.getvalue())
    if rng.random() < 0.4:
        for _ in range(rng.choice([1, 1, 3, 20])):
            data[rng.randrange(min(len(data), rng.choice([64, 10**9])))] = rng.randrange(256)
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)


def body(rng: random.Random) -> dict:
    """A request that is answered as long as nobody touches it."""
    text = {"type": "text", "text": "How many?"}
    image = base64.b64encode(picture(rng)).decode() if rng.random() < 0.7 else ""
    if rng.random() < 0.3:
        lines = "\n".join(image[k : k + 60] for k in range(0, len(image), 60))
        image = rng.choice([image.rstrip("="), lines, image[1:]])
    shown = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}", "detail": "auto"}}
    last = {"role": "user", "content": rng.choice(["Hello", [text], [shown, text], [text, shown, shown]])}
    answer = {"role": "assistant", "content": "3", "refusal": None, "annotations": [], "tool_calls": []}
    system = {"role": "system", "content": "Be brief."}
    before = rng.choice([[], [], [system], [{"role": "user", "content": "a"}, answer]])
    fields = {"model": "nano", "messages": [*before, last], "temperature": 0, "max_tokens": rng.choice([1, 3])}
    if rng.random() < 0.3:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    if rng.random() < 0.3:
        fields["stop"] = rng.choice(["a", ["\n", "</answer>"], "x" * 1000, ["x" * 300_000]])
    return fields


def places(value, path=()):
    """The paths of all values inside a JSON value."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def mutate_json(rng: random.Random, fields: dict) -> dict:
    fields = copy.deepcopy(fields)
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 4])):
        *way, key = rng.choice([path for path in places(fields) if path])
        inside = fields
        for step in way:
            inside = inside[step]
        match rng.randrange(5):
            case 0 | 1:
                inside[key] = copy.deepcopy(rng.choice(ODD))
            case 2:
                inside.pop(key)
            case 3 if isinstance(inside, dict):
                inside[rng.choice(FIELDS)] = copy.deepcopy(rng.choice(ODD))
            case _:
                copies = 1 if len(str(inside[key])) > 10_000 else rng.choice([1, 2, 40])
                inside[key] = [inside[key]] * copies if rng.random() < 0.8 else {"content": inside[key]}
    return fields


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        k = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[k : k + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[k : k + rng.choice([1, 5, 1000])]
            case 2:
                data[k:k] = rng.choice(INSERTED)
            case 3:
                data[k:k] = data[max(0, k - 50) : k]
            case _:
                del data[k:]
    return bytes(data)


def head(rng: random.Random, size: int, strange: float) -> bytes:
    """The lines before a body of `size` bytes; each is strange with that probability."""

    def odd(usual, *others):
        return rng.choice(others) if rng.random() < strange else usual

    long = "a" * rng.choice([10_000, 100_000])
    method = odd("POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "CONNECT", "post", "PÖST", "", "X" * 500)
    path = odd(
        PATH, PATH + "/", "/" + PATH, "/", "*", "//evil.example/", "http://evil.example" + PATH, PATH + "?a=%00&b=%ff",
        "/v1/models/%2e%2e", "/v1/models/nano", "/v1/models/" + long[:5000], "/%00", "/\x7f", "/v1/é", "/health", "",
    )  # fmt: skip
    version = odd("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "", "HTTP")
    lines = [f"{method} {path} {version}"]
    lines += odd(["Host: localhost"], ["Host: evil.example"], ["Host:"], [], ["Host: a", "Host: b"], ["Host: [::1"])
    lines += odd(
        ["Content-Type: application/json"], [], ["Content-Type: text/plain"], ["Content-Type: multipart/form-data"],
        ["content-TYPE: APPLICATION/JSON; charset=latin-1"], ["Content-Type: application/json, text/html"],
    )  # fmt: skip
    lines += odd(
        [f"Content-Length: {size}"], [], ["Content-Length: -1"], ["Content-Length: a"],
        [f"Content-Length: {size // 2}"], [f"Content-Length: {size}", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked"], ["Transfer-Encoding: gzip"], [f"Content-Length: {10**30}"],
        [f"Content-Length: {size}", "Content-Length: 3"],
    )  # fmt: skip
    lines += odd(
        ["Connection: close"], ["Connection: close", "Upgrade: websocket"], ["Connection: Upgrade", "Upgrade: h2c"],
        ["Expect: 100-continue"], ["X: a\x00b"], [" folded: yes"], ["no colon"], [f"X{k}: 1" for k in range(300)],
        [f"X: {long}"], ["Connection: Upgrade", "Upgrade: websocket"], ["X: \xff"],
    )  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def mutant(seed: int, number: int) -> Request:
    """A request with something wrong in one or several layers; some have nothing wrong."""
    rng = random.Random(f"{seed}/{number}")
    sent = json.dumps(mutate_json(rng, body(rng))).encode()
    if rng.random() < 0.15:
        sent = mutate_bytes(rng, sent)
    if rng.random() < 0.05:
        sent = sent.decode("utf-8", "replace").encode(rng.choice(["utf-16", "utf-32", "latin-1"]), "replace")
    sent = head(rng, len(sent), rng.choice([0, 0, 0, 0.15, 0.5])) + sent
    if rng.random() < 0.05:
        sent = mutate_bytes(rng, sent)
    if rng.random() < 0.03:
        sent = rng.choice(NO_HTTP)
    leave = rng.choice([None, None, None, None, None, None, "close", "reset"])
    if leave and rng.random() < 0.5:
        sent = sent[: rng.randrange(len(sent))]
    return Request(sent, leave if whole(sent) else leave or "close")


def whole(sent: bytes) -> bool:
    """Whether the bytes are a whole request, or none at all: a server waits for the rest of half a one."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(sent)
    try:
        event = server.next_event()
        while isinstance(event, h11.Request | h11.Data):
            event = server.next_event()
    except h11.RemoteProtocolError:
        return True
    return event is not h11.NEED_DATA
