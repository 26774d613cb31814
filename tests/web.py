"""Real servers for tests: an ASGI application in a thread, launch/serve.py in a process, and a proxy that misbehaves
when it is told to."""

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ROOT = Path(__file__).parents[1]
WAIT = 300  # seconds: only something that hangs takes so long
LOUD = {"log_level": "warning", "log_config": None}


@contextlib.contextmanager
def running(app, **options) -> Iterator[str]:
    """The base URL, .../v1, of an application that is served on a free port meanwhile. options: of uvicorn; LOUD lets
    pytest's caplog see its errors."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # whoever comes before the server is up waits
    options = {"log_level": "critical", "lifespan": "off"} | options
    server = uvicorn.Server(uvicorn.Config(app, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(WAIT)


def start(*args, **options):
    """The process of launch/serve.py."""
    return subprocess.Popen(
        [sys.executable, "launch/serve.py", *args], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **options,
    )  # fmt: skip


@contextlib.contextmanager
def serving(*args):
    """The process and its URL, once it listens; ended at the end if it still runs."""
    process = start("--port=0", *args)
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/v1", line)
        assert found, line + process.stderr.read()
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


class Faults:
    """In front of `upstream` (a base URL, or a function body -> reply), faults for chosen requests.

    plan: text of the last message -> faults of its first requests, in order; '' for all others. A fault is a key of
    FAULTS or a function body -> Response. asked: text -> requests; passed: text -> requests that got through.
    """

    FAULTS = ("429", "429 date", "500", "503", "hang", "malformed", "no choices", "html", "cut")

    def __init__(self, upstream, plan):
        self.upstream, self.plan = upstream, {text: list(faults) for text, faults in plan.items()}
        self.asked, self.passed, self.bodies, self.headers = Counter(), Counter(), [], []
        self.at_once = self.most_at_once = 0
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._chat, methods=["POST"])])

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        self.asked[text] += 1
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            faults = self.plan.get(text, self.plan.get("", []))
            fault = faults.pop(0) if faults else None
            if callable(fault):
                return fault(request, body)
            return await self._fault(fault) if fault else await self._pass(text, body)
        finally:
            self.at_once -= 1

    async def _fault(self, fault: str) -> Response:
        error = {"error": {"message": "on purpose", "type": "x", "param": None, "code": None}}
        match fault:
            case "429":
                return JSONResponse(error, 429, {"Retry-After": "1"})
            case "429 date":
                return JSONResponse(error, 429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
            case "500" | "503":
                return JSONResponse(error, int(fault))
            case "hang":
                await asyncio.sleep(10 * WAIT)
            case "malformed":
                return Response('{"choices": [{"mess', media_type="application/json")
            case "no choices":
                return JSONResponse({"id": "a", "object": "chat.completion"})
            case "html":
                return Response("<html>Bad gateway</html>", 200, media_type="text/html")
            case "cut":  # fewer bytes than announced: the connection is lost
                return Response('{"choices": []}', headers={"Content-Length": "1000"}, media_type="application/json")
        raise ValueError(fault)

    async def _pass(self, text: str, body: dict) -> Response:
        self.passed[text] += 1
        if callable(self.upstream):
            return JSONResponse(self.upstream(body))
        status, reply = await run_in_threadpool(_post, f"{self.upstream}/chat/completions", body)
        return Response(reply, status, media_type="application/json")


def _post(url: str, body: dict) -> tuple[int, bytes]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=WAIT) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
