"""Connections that send half of a request, nothing, rubbish or without end, and clients that read nothing."""

import asyncio
import contextlib
import socket
import time
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from rrft_jax.serving.connection import Connection
from tests.timing import tried_again
from tests.web import LOUD, running

PATIENCE = 0.5
SLACK = 10  # seconds that a busy machine may take
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


class Hasty(Connection):
    patience, rate, stuck, most = PATIENCE, 1000, PATIENCE, 8


@pytest.fixture(scope="module")
def place():
    async def echo(request):
        try:
            return PlainTextResponse(str(len(await request.body())))
        except ClientDisconnect:
            return PlainTextResponse("too late", 499)

    async def refuse(request):
        return PlainTextResponse("no", 415)

    async def endless(request):
        async def parts():
            while True:
                yield b"x" * 2**16
                await asyncio.sleep(0)

        return StreamingResponse(parts())

    routes = [Route(path, do, methods=["GET", "POST"]) for path, do in
              (("/", echo), ("/refuse", refuse), ("/endless", endless))]  # fmt: skip
    with running(Starlette(routes=routes), http=Hasty, timeout_keep_alive=1, **LOUD) as url:
        yield urlsplit(url).hostname, urlsplit(url).port


@pytest.fixture
def connect(place):
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(place, timeout=SLACK))


def rest(connection):
    """All that comes until the server closes; the test fails where it does not within SLACK."""
    out = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(2**16):
            out += part
    return out


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"POST / HT", b"HTTP/1.1 408 "),
        (HEAD, b"HTTP/1.1 408 "),
        (HEAD + b"Content-Length: 100\r\n\r\n", b"HTTP/1.1 408 "),
        (HEAD + b"Content-Length: 100\r\n\r\nabc", b"HTTP/1.1 408 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", b"HTTP/1.1 408 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"HTTP/1.1 408 "),
        (HEAD.replace(b"/ ", b"/refuse ") + b"Content-Length: 100\r\n\r\nabc", b"HTTP/1.1 415 "),
        (HEAD + b"Content-Length: 3\r\n\r\nabcPOST / HT", b"HTTP/1.1 200 "),
        (HEAD + b"Content-Length: 3\r\n\r\nabc" + HEAD + b"Content-Length: 9\r\n\r\nabc", b"HTTP/1.1 200 "),
    ],
)
def test_half_a_request_is_waited_for_only_so_long(connect, sent, answer):
    connection, begun = connect(), time.monotonic()
    connection.sendall(sent)
    got = rest(connection)
    assert got.startswith(answer) and (answer or not got) and time.monotonic() - begun >= 0.9 * PATIENCE


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", HEAD + b"Content-Length: 10000\r\n\r\n"])
def test_a_drip_does_not_keep_it_open(connect, first):
    connection, begun = connect(), time.monotonic()
    connection.sendall(first)
    with pytest.raises(OSError):
        while time.monotonic() < begun + SLACK:
            time.sleep(PATIENCE / 10)
            connection.sendall(b"x")
    assert time.monotonic() - begun < SLACK


@tried_again
def test_a_slow_but_steady_body_is_waited_for(connect):
    connection = connect()
    connection.sendall(HEAD + b"Content-Length: 4000\r\n\r\n")
    for _ in range(10):
        time.sleep(2 * PATIENCE / 10)
        connection.sendall(b"x" * 400)
    assert connection.recv(2**16).startswith(b"HTTP/1.1 200 ")
    for _ in range(3):  # and the connection serves on
        connection.sendall(HEAD + b"Content-Length: 3\r\n\r\nabc")
        assert connection.recv(2**16).startswith(b"HTTP/1.1 200 ")


@tried_again
def test_the_rest_of_a_refused_request_is_read_so_that_the_connection_serves_on(connect):
    connection = connect()
    connection.sendall(HEAD.replace(b"/ ", b"/refuse ") + b"Content-Length: 6\r\n\r\nabc")
    assert connection.recv(2**16).startswith(b"HTTP/1.1 415 ")
    connection.sendall(b"def" + HEAD + b"Content-Length: 3\r\n\r\nab")
    time.sleep(0.6 * PATIENCE)
    connection.sendall(b"c")
    assert connection.recv(2**16).startswith(b"HTTP/1.1 200 ")


def test_a_refused_request_without_end_is_not_read_on(connect):
    connection, begun = connect(), time.monotonic()
    connection.sendall(HEAD.replace(b"/ ", b"/refuse ") + b"Transfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(OSError):
        while time.monotonic() < begun + SLACK:
            connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            time.sleep(0.01)


def test_a_client_that_reads_nothing_is_given_up(place):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(place)
        connection.settimeout(SLACK)
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(4 * PATIENCE)
        begun = time.monotonic()
        rest(connection)  # what was on its way, and then the end of an answer that has none
        assert time.monotonic() - begun < SLACK


@pytest.mark.parametrize("path", [b"/", b"/refuse"])
def test_rubbish_in_the_body(connect, caplog, path):
    """The application, which has the head, is told that the client is gone, and answers no second time."""
    connection = connect()
    connection.sendall(HEAD.replace(b"/", path, 1) + b"Transfer-Encoding: chunked\r\n\r\nrubbish\r\n")
    assert rest(connection).startswith(b"HTTP/1.1 400 ")
    connection = connect()
    connection.sendall(HEAD.replace(b"/ ", b"/refuse ") + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert connection.recv(2**16).startswith(b"HTTP/1.1 415 ")
    connection.sendall(b"rubbish\r\n")
    rest(connection)
    assert not [record for record in caplog.records if record.exc_info], "no traceback, asyncio's included"


def test_so_many_connections_at_once(connect):
    before = [connect() for _ in range(Hasty.most)]
    late = connect()
    with contextlib.suppress(ConnectionError):
        late.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert rest(late).startswith(b"HTTP/1.1 503 ")
    for connection in before:
        connection.close()
    begun = time.monotonic()
    while time.monotonic() < begun + SLACK:
        connection = connect()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            if connection.recv(100).startswith(b"HTTP/1.1 200 "):
                return
    raise AssertionError("the places of the others are free again")
