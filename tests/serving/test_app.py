"""The web application with an engine that needs no model: statuses, bodies, events."""

import json
import logging
import queue
import socket
import struct
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from starlette.testclient import TestClient

from rrft_jax.pretrained import resolve_init
from rrft_jax.processing.processor import encode_completion, load_processor
from rrft_jax.serving.app import make_app
from rrft_jax.serving.engine import Engine
from rrft_jax.serving.hosts import host_check
from rrft_jax.serving.prepare import Limits, prepare
from rrft_jax.serving.text import answer_pieces
from tests.web import LOUD, running

WAIT = 60
LIMITS = Limits(positions=4096, max_new_tokens=64, max_bytes=20_000)
HELLO = [{"role": "user", "content": "Hello"}]
PATH = "/v1/chat/completions"


class Drawing:
    """Always draws `text`. While `hold` is set, a batch waits for `gate`."""

    def __init__(self, processor, text):
        self.ids = encode_completion(processor, text)
        self.gate, self.entered, self.hold, self.fail = threading.Event(), queue.SimpleQueue(), False, False

    def batch(self, works):
        self.entered.put(len(works))
        assert not self.hold or self.gate.wait(WAIT)
        if self.fail:
            raise RuntimeError("secret detail")
        return [np.stack([self.ids] * work.n) for work in works]

    def stream(self, work):
        yield from self.ids[:3]
        if self.fail:
            raise RuntimeError("secret detail")
        yield from self.ids[3:]


@pytest.fixture(scope="module")
def nano():
    return load_processor(resolve_init("nano"))


@pytest.fixture
def drawing(nano):
    return Drawing(nano, "Three größe cubes.")


@pytest.fixture
def client(nano, drawing):
    engine = Engine(drawing, lambda *of: answer_pieces(nano, *of), max_rows=4, max_waiting=1)
    with TestClient(make_app(engine, nano, "nano", LIMITS), raise_server_exceptions=False) as client:
        yield client
        drawing.gate.set()
    assert not engine.alive, "the end of the application is the end of its engine"


def ask(client, **fields):
    return client.post(PATH, json={"model": "nano", "messages": HELLO} | fields)


def events(response):
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = response.text.split("\n\n")
    assert lines.pop() == "" and all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


def test_models_and_health(client):
    assert client.get("/health").json() == {"status": "ok", "model": "nano"}
    models = client.get("/v1/models").json()
    assert models["object"] == "list" and [m["id"] for m in models["data"]] == ["nano"]
    assert client.get("/v1/models/nano").json() == models["data"][0]
    other = client.get("/v1/models/gpt%2F4")
    assert other.status_code == 404 and other.json()["error"]["code"] == "model_not_found"
    assert "'gpt/4'" in other.json()["error"]["message"]


def test_a_slash_at_the_end_changes_nothing_and_redirects_nowhere(client):
    for path in (f"{PATH}/", f"{PATH}//"):
        reply = client.post(path, json={"model": "nano", "messages": HELLO}, follow_redirects=False)
        assert reply.status_code == 200 and reply.json()["choices"]
    for path in ("/v1/models/", "/v1/models/nano/", "/health/"):
        assert client.get(path, follow_redirects=False).status_code == 200
    for path in ("/", "/v1", "/v1/", "//evil.example/", "/v1//models", "/health/x/"):
        reply = client.get(path, headers={"Host": "evil.example"}, follow_redirects=False)
        assert reply.status_code == 404 and "location" not in reply.headers


def test_foreign_names_are_refused_everywhere(nano, drawing):
    engine = Engine(drawing, lambda *of: answer_pieces(nano, *of))
    app = make_app(engine, nano, "nano", LIMITS, host_check("127.0.0.1", ["gpubox"]))
    with TestClient(app, base_url="http://localhost:8000") as client:
        for host, status in (("localhost:8000", 200), ("gpubox", 200), ("evil.example", 403), ("evil.example:80", 403)):
            paths = ("/health", "/v1/models", "/v1/models/nano")
            replies = [client.get(path, headers={"Host": host}) for path in paths]
            body = {"model": "nano", "messages": HELLO}
            replies.append(client.post(PATH, json=body, headers={"Host": host}))
            assert [reply.status_code for reply in replies] == [status] * 4
        assert "--allowed_hosts" in replies[-1].json()["error"]["message"]


def test_answers(client, drawing):
    reply = ChatCompletion.model_validate(ask(client, n=2).json())
    assert [c.message.content for c in reply.choices] == ["Three größe cubes."] * 2
    assert [c.finish_reason for c in reply.choices] == ["stop"] * 2
    assert reply.usage.completion_tokens == 2 * len(drawing.ids) and reply.usage.prompt_tokens > 10
    cut = ask(client, max_tokens=2).json()
    assert cut["choices"][0]["finish_reason"] == "length" and cut["usage"]["completion_tokens"] == 2
    assert ask(client, stop="cub").json()["choices"][0]["message"]["content"] == "Three größe "


def test_streams(client):
    whole = ask(client).json()
    for usage in (False, True):
        *data, done = events(ask(client, stream=True, stream_options={"include_usage": usage}))
        chunks = [ChatCompletionChunk.model_validate_json(x) for x in data]
        assert done == "[DONE]" and len({c.id for c in chunks}) == 1
        assert chunks[0].choices[0].delta.role == "assistant"
        spoken = [c.choices[0] for c in chunks if c.choices]
        text = "".join(choice.delta.content or "" for choice in spoken)
        assert text == whole["choices"][0]["message"]["content"] and len(spoken) > 5
        assert [choice.finish_reason for choice in spoken] == [None] * (len(spoken) - 1) + ["stop"]
        assert (json.loads(data[-1]).get("usage") == whole["usage"]) == usage
        assert {json.loads(x).get("usage", "absent") for x in data[:-1]} == ({None} if usage else {"absent"})


def test_statuses(client):
    cases = [
        (ask(client, model="gpt"), 404, "model_not_found", "model"),
        (ask(client, temperature=9), 400, None, "temperature"),
        (ask(client, max_tokens=65), 400, None, "max_tokens"),
        (ask(client, messages=[{"role": "user", "content": "a " * 5000}]), 400, "context_length_exceeded", "messages"),
        (ask(client, messages=[{"role": "user", "content": "x" * 30_000}]), 413, None, None),
        (client.post(PATH, content=iter([b"x" * 15_000] * 2), headers={"Content-Type": "application/json"}),
         413, None, None),
        (client.post(PATH, content=b"{}", headers={"Content-Type": "text/plain"}), 415, None, None),
        (client.post(PATH, content=b"{", headers={"Content-Type": "application/json; charset=utf-8"}), 400, None, None),
        (client.get(PATH), 405, None, None),
        (client.get("/v1/nothing"), 404, None, None),
    ]  # fmt: skip
    url = {"type": "image_url", "image_url": {"url": "http://example.org/a.png"}}
    where = "messages[0].content[0].image_url.url"
    cases.append((ask(client, messages=[{"role": "user", "content": [url]}]), 400, "invalid_image_url", where))
    for response, status, code, param in cases:
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (status, code, param), error
        assert error["type"] == "invalid_request_error" and error["message"]


def test_failure_of_the_model_keeps_its_details(client, drawing):
    drawing.fail = True
    response = ask(client)
    assert response.status_code == 500 and response.json()["error"]["type"] == "server_error"
    *_, last = events(ask(client, stream=True))
    assert "error" in json.loads(last) and "secret" not in response.text + last
    drawing.fail = False
    assert ask(client).status_code == 200


def test_overload_is_503_and_says_when_to_come_back(client, drawing):
    drawing.hold = True
    replies = queue.SimpleQueue()
    threads = [threading.Thread(target=lambda: replies.put(ask(client).status_code)) for _ in range(4)]
    for thread in threads[:1]:
        thread.start()
    assert drawing.entered.get(timeout=WAIT) == 1
    for thread in threads[1:]:
        thread.start()
    # One of the three may wait; the other two are turned away at once.
    assert [replies.get(timeout=WAIT) for _ in range(2)] == [503, 503]
    refused = ask(client)
    assert refused.status_code == 503 and refused.json()["error"]["code"] == "overloaded"
    assert int(refused.headers["Retry-After"]) >= 1
    broken = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    assert ask(client, messages=broken).status_code == 503, "no picture is read for a request that has no place"
    drawing.gate.set()
    assert [replies.get(timeout=WAIT) for _ in range(2)] == [200, 200]
    for thread in threads:
        thread.join()
    assert ask(client, messages=broken).status_code == 400


def test_no_more_requests_are_prepared_than_may_wait(client, monkeypatch):
    """Reading pictures costs hundreds of megabytes each; a request that has no place is refused before."""
    at_work, enough = queue.SimpleQueue(), threading.Event()

    def slow(*of):
        at_work.put(of)
        assert enough.wait(WAIT)
        return prepare(*of)

    monkeypatch.setattr("rrft_jax.serving.app.prepare", slow)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(ask, client)
        at_work.get(timeout=WAIT)
        others = [pool.submit(ask, client) for _ in range(4)]
        assert [other.result(WAIT).status_code for other in others] == [503] * 4
        enough.set()
        assert first.result(WAIT).status_code == 200
    assert at_work.empty() and ask(client).status_code == 200


@pytest.mark.parametrize("sent", [1.0, 0.5, 0.0])
def test_a_client_that_leaves_early_is_not_an_error(nano, drawing, sent, caplog):
    """In the middle of its body, and in the middle of its answer."""
    engine = Engine(drawing, lambda *of: answer_pieces(nano, *of))
    body = json.dumps({"model": "nano", "messages": HELLO, "stream": True}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with running(make_app(engine, nano, "nano", LIMITS), **LOUD) as url:
        place = urlsplit(url).hostname, urlsplit(url).port
        for _ in range(20):
            with socket.create_connection(place, timeout=WAIT) as connection:
                connection.sendall(head.encode() + body[: int(sent * len(body))])
                if sent == 1:
                    connection.recv(10)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/health", timeout=WAIT) as reply:
            assert reply.status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    engine.stop()
    assert engine.join(WAIT)


def test_client_that_leaves_is_not_worked_for(nano, drawing):
    drawing.hold = True
    engine = Engine(drawing, lambda *of: answer_pieces(nano, *of))
    body = json.dumps({"model": "nano", "messages": HELLO}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with running(make_app(engine, nano, "nano", LIMITS)) as url:
        place = urlsplit(url)
        sockets = []
        for _ in range(2):
            sockets.append(socket.create_connection((place.hostname, place.port), timeout=WAIT))
            sockets[-1].sendall(head.encode() + body)
            if len(sockets) == 1:
                assert drawing.entered.get(timeout=WAIT) == 1
        begun = time.monotonic()
        while not engine._waiting and time.monotonic() < begun + WAIT:
            time.sleep(0.01)
        (job,) = engine._waiting
        assert not job.cancelled
        sockets[1].close()
        while not job.cancelled and time.monotonic() < begun + WAIT:
            time.sleep(0.01)
        drawing.gate.set()
        assert sockets[0].recv(15) == b"HTTP/1.1 200 OK"
        sockets[0].close()
    engine.stop()
    assert engine.join(WAIT) and drawing.entered.empty(), "the second was never drawn"


def test_stopped_engine_is_ill(nano, drawing):
    engine = Engine(drawing, lambda *of: answer_pieces(nano, *of))
    client = TestClient(make_app(engine, nano, "nano", LIMITS))
    engine.stop()
    assert engine.join(WAIT)
    assert client.get("/health").status_code == 503 and ask(client).status_code == 503
