"""The web application: routes, bodies and statuses. It needs starlette, which the extra `serve` brings."""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from rrft_jax.processing.processor import Processor
from rrft_jax.serving.engine import Busy, Engine, Event, Job
from rrft_jax.serving.prepare import Limits, Work, prepare
from rrft_jax.serving.protocol import (
    ApiError,
    ChatRequest,
    chunk,
    completion,
    event,
    model_list,
    parse_request,
    usage_chunk,
)

_RETRY_AFTER = 1  # seconds
_MORE_HOSTS = "if it is, start it with --allowed_hosts"
_READ_ON = 8  # times the allowed size are read and dropped: a client that is still sending does not see the refusal


def make_app(
    engine: Engine,
    processor: Processor,
    name: str,
    limits: Limits,
    trusted: Callable[[str], bool] = lambda host: True,
) -> Starlette:
    """The application of one model, which requests call `name`. The engine is stopped when the application ends.

    trusted(host): whether requests with this Host header are answered, see serving/hosts.py.
    """
    created = int(time.time())
    threads = CapacityLimiter(os.cpu_count() or 1)  # each may hold the pictures of a request

    def known(model: str) -> None:
        if model != name:
            raise ApiError(404, f"no model {model[:80]!r} here; this server has {name!r}", "model", "model_not_found")

    def read(body: bytes) -> tuple[ChatRequest, Work]:
        asked = parse_request(body)
        known(asked.model)
        return asked, prepare(asked, processor, limits)

    async def chat(request: Request) -> Response:
        body = await read_body(request, limits.max_bytes)
        try:
            with engine.place():
                asked, work = await run_sync(read, body, limiter=threads)
        except Busy as busy:
            raise api_error(busy) from None
        del body
        events: asyncio.Queue[Event] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def emit(item: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                loop.call_soon_threadsafe(events.put_nowait, item)

        try:
            job = engine.submit(work, emit)  # nothing has run since the place was left, so it is still free
        except Busy as busy:  # the server is stopping
            raise api_error(busy) from None
        head = f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), name
        prompt_tokens = len(work.prompt.tokens)
        if asked.stream:
            stream = _events(asked, job, events, head, prompt_tokens)
            return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        answers = await _answers(request, job, events)
        return JSONResponse(completion(*head, answers, prompt_tokens))

    async def models(request: Request) -> Response:
        return JSONResponse(model_list(name, created))

    async def model(request: Request) -> Response:
        known(request.path_params["id"])
        return JSONResponse(model_list(name, created)["data"][0])

    async def health(request: Request) -> Response:
        if not engine.alive:
            raise ApiError(503, "the engine has stopped: restart the server")
        return JSONResponse({"status": "ok", "model": name})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        yield
        engine.stop()
        await run_sync(engine.join)

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/models/{id:path}", model),
            Route("/health", health),
        ],
        exception_handlers=exception_handlers(),
        middleware=[Middleware(Door, trusted=trusted)],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect goes to whatever host the request names
    return app


class Door:
    """Lets in what comes under a trusted name; a path with slashes at its end is the one without."""

    def __init__(self, app: ASGIApp, trusted: Callable[[str], bool], advice: str = _MORE_HOSTS):
        self._app, self._trusted, self._advice = app, trusted, advice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        # HTTP/1.0 has none, and no browser asks without.
        if (host := Headers(scope=scope).get("host")) is not None and not self._trusted(host):
            what = f"{host[:80]!r} is not a name of this server: {self._advice}"
            return await _response(ApiError(403, what))(scope, receive, send)
        await self._app({**scope, "path": scope["path"].rstrip("/") or "/"}, receive, send)


async def read_body(request: Request, most: int) -> bytes:
    """The body, of at most `most` bytes: no more than that is ever held."""
    # A page in a browser may post a plain form to any address, but not JSON without asking first.
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "the Content-Type must be application/json")
    held, size = bytearray(), 0
    try:
        async for part in request.stream():
            size += len(part)
            if size <= most:
                held += part
            elif size > _READ_ON * most:
                break
    except ClientDisconnect:
        raise ApiError(499, "the client has left") from None
    if size > most:
        raise ApiError(413, f"the body is larger than {most} bytes: send fewer or smaller images")
    return bytes(held)


async def _answers(request: Request, job: Job, events: asyncio.Queue) -> Any:
    """What the engine emits for a request that is not streamed. A client that leaves is not worked for."""
    result = asyncio.ensure_future(events.get())
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait((result, gone), return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            raise ApiError(499, "the client has left")
        if isinstance(result.result(), Exception):
            raise api_error(result.result())
        return result.result()
    finally:
        job.cancel()
        result.cancel()
        gone.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(
    asked: ChatRequest, job: Job, events: asyncio.Queue, head: tuple[str, int, str], prompt_tokens: int
) -> AsyncIterator[str]:
    """The server-sent events of a streamed reply; an error in the middle is an event too."""
    usage = {"usage": None} if asked.include_usage else {}  # until the last event, as the protocol has it
    try:
        yield event(chunk(*head, {"role": "assistant", "content": ""}) | usage)
        while isinstance(item := await events.get(), str):
            yield event(chunk(*head, {"content": item}) | usage)
        if isinstance(item, Exception):
            yield event(api_error(item).body)
            return
        yield event(chunk(*head, {}, item[0].reason) | usage)
        if asked.include_usage:
            yield event(usage_chunk(*head, item, prompt_tokens))
        yield event("[DONE]")
    finally:
        job.cancel()


def api_error(error: Exception) -> ApiError:
    """What a client is told; the engine has logged the rest."""
    if isinstance(error, Busy):
        return ApiError(503, str(error), code="overloaded", retry_after=_RETRY_AFTER)
    return ApiError(500, "the model failed on this request; the server's log says why")


def _response(error: ApiError) -> Response:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse(error.body, error.status, headers)


def exception_handlers() -> dict[Any, Callable[..., Any]]:
    return {ApiError: _refusal, HTTPException: _http_refusal, Exception: _failure}


async def _refusal(request: Request, error: ApiError) -> Response:
    return _response(error)


async def _http_refusal(request: Request, error: HTTPException) -> Response:
    what = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse(ApiError(error.status_code, what).body, error.status_code, error.headers)


async def _failure(request: Request, error: Exception) -> Response:
    return JSONResponse(ApiError(500, "the server failed on this request; its log says why").body, 500)
