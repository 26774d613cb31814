"""A page on this machine: a picture or a generated scene, a question, and several answers as they are drawn, each with
its rewards and, where the task has them, its boxes and points.

The page is plain HTML, a style sheet and a script from the package: it loads nothing from other hosts, and its
Content-Security-Policy forbids that it could. Needs the extra `serve`.
"""

import asyncio
import base64
import contextlib
import dataclasses
import io
import json
import logging
import math
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from anyio.to_thread import run_sync
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rrft_jax.data.example import Example
from rrft_jax.evaluation.asking import LISTED
from rrft_jax.losses.advantages import group_advantages
from rrft_jax.processing.processor import Processor
from rrft_jax.report.page import asset
from rrft_jax.rewards import Pool, RewardSet
from rrft_jax.rewards.chosen import chosen_rewards
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.run.completions import GEOMETRY
from rrft_jax.serving.app import Door, api_error, exception_handlers, read_body
from rrft_jax.serving.engine import Busy, Engine, Event, Job
from rrft_jax.serving.pictures import read_picture
from rrft_jax.serving.prepare import Limits, Work, draw_number, prepare
from rrft_jax.serving.protocol import ApiError, ChatRequest, Choice, Message, PictureUrl
from rrft_jax.tasks.task import Task

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; connect-src 'self'; " \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # fmt: skip
_log = logging.getLogger(__name__)
SEED, SPLIT = 0, "demo"  # of the generated scenes: no training or evaluation draws from this stream
LOOKED_THROUGH = 20  # scenes, for one that has a place to point to


@dataclass(frozen=True)
class Asked:
    """What the page sends: a question, and how to draw answers. example: what they are scored against; its answer is ""
    where there is none. text: the user's turn, the prompt template filled in."""

    example: Example
    text: str
    pictures: tuple[PictureUrl, ...]
    n: int
    sampling: Sampling
    limit: int
    seed: int | None


def make_demo(
    engine: Engine,
    processor: Processor,
    name: str,
    tasks: Mapping[str, Task],
    limits: Limits,
    pool: Pool,
    first: tuple[str, str] = ("", "cot"),
    published: bool = False,
    trusted: Callable[[str], bool] = lambda host: True,
) -> Starlette:
    """The application about one model, which the page calls `name`.

    tasks: those to choose from, by name. first: (task, prompt) chosen at the start, "" for the first task. published:
    whether prompts are those of the published data sets. pool: where symbolic checks run. trusted: see hosts.py.
    """
    pages = {
        "/": ("text/html", asset("../demo/page.html")),
        "/page.css": ("text/css", asset("page.css") + asset("../demo/page.css")),
        "/page.js": ("text/javascript", asset("common.js") + asset("../demo/page.js")),
    }
    known = {key: _about(task) for key, task in tasks.items()}
    if first[0] and first[1] not in known[first[0]]["prompts"]:
        known[first[0]]["prompts"].append(first[1])  # a file of the training's own
    about = {
        "name": name, "first": [first[0] or next(iter(tasks)), first[1]], "most": limits.max_rows,
        "length": min(256, limits.max_new_tokens), "tasks": known,
    }  # fmt: skip

    async def page(request: Request) -> Response:
        kind, text = pages[request.url.path]
        return HTMLResponse(text, media_type=kind, headers={
            "Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        })  # fmt: skip

    async def tasks_of(request: Request) -> Response:
        return JSONResponse(about)

    async def scene(request: Request) -> Response:
        query = request.query_params
        task = _task(tasks, query.get("task"))
        example = await run_sync(_scene, task, query.get("domain", "in"), query.get("index", "0"))
        return JSONResponse({
            "problem": example.problem, "answer": example.answer, "pictures": list(map(_data_url, example.images)),
            "metadata": _places(example),
        })  # fmt: skip

    async def ask(request: Request) -> Response:
        fields = _object(await read_body(request, limits.max_bytes))
        try:
            with engine.place():
                asked = await run_sync(_asked, fields, tasks, known, limits, published)
                works = await run_sync(_works, asked, processor, limits)
        except Busy as busy:
            raise api_error(busy) from None
        rewards = _rewards(tasks[asked.example.task], processor, asked.limit, pool) if asked.example.answer else None
        stream = _stream(engine, asked, works, rewards)
        return StreamingResponse(stream, media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})

    app = Starlette(
        routes=[
            *(Route(path, page) for path in pages), Route("/tasks", tasks_of), Route("/scene", scene),
            Route("/ask", ask, methods=["POST"]),
        ],
        exception_handlers=exception_handlers(),
        middleware=[Middleware(Door, trusted=trusted, advice="open it as http://localhost")],
    )  # fmt: skip
    app.router.redirect_slashes = False
    return app


def _about(task: Task) -> dict[str, Any]:
    """What the page shows of a task. sample: a scene with a place in it, from which the page learns how the task writes
    coordinates; None where it has none."""
    domains = {each.domain: each.title for each in task.held_out.values()}
    sample = None
    if task.make is not None:
        for index in range(LOOKED_THROUGH):
            example = task.make(SEED, index, SPLIT, next(iter(domains), "in"))
            if not (GEOMETRY_BUT_SIZE & example.metadata.keys()):
                break
            if any(example.metadata.get(key) for key in GEOMETRY_BUT_SIZE):
                sample = {"answer": example.answer, "metadata": _places(example)}
                break
    return {
        "prompts": [*task.prompts, *task.templates, "none"], "domains": domains if task.make else {}, "sample": sample,
        "rewards": dict(task.rewards),
    }  # fmt: skip


GEOMETRY_BUT_SIZE = frozenset(GEOMETRY) - {"size"}


def _places(example: Example) -> dict[str, Any]:
    return {key: example.metadata[key] for key in GEOMETRY if key in example.metadata}


def _task(tasks: Mapping[str, Task], name: Any) -> Task:
    if not isinstance(name, str) or name not in tasks:
        raise ApiError(400, f"task {name!r:.80} is none of {', '.join(tasks)}", "task")
    return tasks[name]


def _scene(task: Task, domain: Any, index: Any) -> Example:
    known = {each.domain for each in task.held_out.values()}
    if task.make is None or not isinstance(domain, str) or domain not in known:
        raise ApiError(400, f"task {task.name} generates no scenes of domain {domain!r:.80}", "domain")
    if not str(index).isascii() or not str(index).isdigit() or len(str(index)) > 9:
        raise ApiError(400, f"index {index!r:.80} must be a whole number of at least 0", "index")
    return task.make(SEED, int(index), SPLIT, domain)


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ApiError(400, "the body must be a JSON object")
    return fields


def _asked(
    fields: Mapping[str, Any], tasks: Mapping[str, Task], known: Mapping[str, Any], limits: Limits, published: bool
) -> Asked:
    """The question of a body. Raises ApiError (400) that names the field."""
    task = _task(tasks, fields.get("task"))
    question, answer, prompt = (_text(fields, name) for name in ("question", "answer", "prompt"))
    if prompt not in known[task.name]["prompts"]:  # prompt_fn takes files too, which no request may name
        raise ApiError(400, f"prompt {prompt!r:.80} is none of {', '.join(known[task.name]['prompts'])}", "prompt")
    urls = fields.get("pictures", [])
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ApiError(400, "pictures must be a list of data URLs", "pictures")
    pictures = tuple(PictureUrl(url, f"pictures[{k}]") for k, url in enumerate(urls))
    if len(pictures) > limits.max_images:
        raise ApiError(400, f"{len(pictures)} pictures are more than {limits.max_images}", "pictures")
    chosen = fields.get("scene")
    if chosen is not None:  # made again: a page cannot say what an answer is measured by
        if not isinstance(chosen, dict):
            raise ApiError(400, "scene must be an object with domain and index", "scene")
        example = _scene(task, chosen.get("domain"), chosen.get("index"))
        pictures = tuple(PictureUrl(_data_url(image), f"pictures[{k}]") for k, image in enumerate(example.images))
    else:
        example = Example("yours", task.name, question, answer)
        if answer:
            images = tuple(map(read_picture, pictures))
            size = {"size": list(images[0].size)} if images else {}
            try:
                example = task.record(dataclasses.replace(example, images=images, metadata=size))
            except ValueError as error:
                raise ApiError(400, f"the gold answer cannot be scored: {error}", "answer") from None
    # A template may depend on whether the answer is a letter; a question without one shows that by its list of choices.
    shown = example if example.answer or not LISTED.search(question) else dataclasses.replace(example, answer="A")
    text = example.problem if prompt == "none" else task.prompt_fn(prompt, published and chosen is None)(shown)
    n, limit = _whole(fields, "samples", 1, limits.max_rows), _whole(fields, "length", 1, limits.max_new_tokens)
    seed = None if fields.get("seed") is None else _whole(fields, "seed", 0, 2**53)
    try:
        sampling = Sampling(_number(fields, "temperature", 0, 2), 0, _number(fields, "top_p", 0, 1))
    except ValueError as error:
        raise ApiError(400, str(error), "top_p") from None
    return Asked(example.without_images(), text, pictures, n, sampling, limit, seed)


def _works(asked: Asked, processor: Processor, limits: Limits) -> list[Work]:
    """One stream a sample: the same prompt, draws of its own."""
    turn = Message("user", (*asked.pictures, asked.text))
    request = ChatRequest("", (turn,), asked.sampling, asked.limit, stream=True)
    work = prepare(request, processor, limits)
    first = secrets.randbits(31) if asked.seed is None else asked.seed
    return [dataclasses.replace(work, number=draw_number(first + g)) for g in range(asked.n)]


def _rewards(task: Task, processor: Processor, length: int, pool: Pool) -> RewardSet:
    """Those that train the task, and the one that decides whether an answer is right."""
    weights = {**task.rewards, task.metric: task.rewards.get(task.metric, 0.0)}
    tokenize = lambda texts: processor.tokenizer(list(texts)).input_ids  # noqa: E731
    return chosen_rewards(
        weights, always=(task.metric,), tokenize=tokenize, max_completion_length=length, pool=pool
    )


async def _stream(
    engine: Engine, asked: Asked, works: list[Work], rewards: RewardSet | None
) -> AsyncIterator[str]:
    """Lines of JSON: the prompt; pieces {g, text}; ends {g, length, finished, reward, rewards}; the advantages."""
    events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def emit(g: int, item: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(events.put_nowait, (g, item))

    jobs: list[Job] = []
    texts, totals = [""] * len(works), [math.nan] * len(works)
    try:
        yield _line({
            "prompt": asked.text, "tokens": len(works[0].prompt.tokens), "answer": asked.example.answer,
            "metadata": _places(asked.example), "samples": len(works),
        })  # fmt: skip
        for g, work in enumerate(works):  # one by one: where one is refused, those before it are cancelled
            jobs.append(engine.submit(work, partial(emit, g)))
        left = len(works)
        while left:
            g, item = await events.get()
            if isinstance(item, str):
                texts[g] += item
                yield _line({"g": g, "text": item})
                continue
            if isinstance(item, Exception):
                raise item
            left -= 1
            done = _end(g, item[0])
            if rewards is not None:
                scores = await run_sync(rewards.score, [texts[g]], [asked.example], [0], 0)
                totals[g] = float(scores.total[0])
                done["reward"] = _finite(totals[g])
                done["rewards"] = {k: _finite(v) for k, v in zip(scores.names, scores.values[:, 0], strict=True)}
            yield _line(done)
        if rewards is not None and len(works) > 1:
            advantages, _ = await run_sync(group_advantages, [totals])
            yield _line({"advantages": [float(a) for a in advantages[0]]})
        yield _line({"done": True})
    except Exception as error:  # whatever it is, the page says so
        if not isinstance(error, Busy):
            _log.exception("a question of the page failed")
        yield _line(api_error(error).body)
    finally:
        for job in jobs:
            job.cancel()


def _end(g: int, choice: Choice) -> dict[str, Any]:
    return {"g": g, "length": choice.tokens, "finished": choice.reason == "stop", "reward": None, "rewards": {}}


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _data_url(image: Any) -> str:
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise ApiError(400, f"{name} must be a text", name)
    return value.strip()


def _whole(fields: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ApiError(400, f"{name} must be a whole number from {least} to {most}", name)
    return value


def _number(fields: Mapping[str, Any], name: str, least: float, most: float) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ApiError(400, f"{name} must be a number from {least} to {most}", name)
    return float(value)
