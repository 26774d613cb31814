"""Questions to a served model: any URL that speaks OpenAI's chat completions.

Needs the package openai, which the extra `serve` brings. The key comes from the environment alone and goes nowhere but
into the request: it is no field of anything here, and it is taken out of every text that a server sends.
"""

import asyncio
import base64
import io
import ipaddress
import os
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from rrft_jax.data.decoding import open_image
from rrft_jax.evaluation.pacing import Pace, backoff, retry_after
from rrft_jax.evaluation.questions import Answerer, Decoding, Question, Reply
from rrft_jax.processing.chat import Prompt, place

OPTIONAL = ("temperature", "top_p", "top_k", "seed", "n", "max_tokens")
_KEY_ENV = "OPENAI_API_KEY"
_LONGEST_HOLD = 600.0  # seconds of Retry-After that are waited for
_LONGEST_TEXT = 300  # characters of a server's message that are quoted
_SHORTEST_KEY = 8  # characters; a shorter "key" is a placeholder, and taking it out would eat ordinary text
# Characters of a key in a row that are taken out of an error, where a server may quote the key in part, and of an
# answer, where a few of them may be ordinary text.
_PIECE_OF_ERROR, _PIECE_OF_ANSWER = 6, 16


class EndpointError(ValueError):
    """The endpoint cannot answer anything: a refused key, an unknown model, a used-up quota."""


class Unanswered(ValueError):
    """Raised after all other replies. failures: question id -> why; unasked: how many were not tried any more."""

    def __init__(self, failures: Mapping[str, str], unasked: int = 0):
        self.failures, self.unasked = dict(failures), unasked
        shown = [f"{id}: {why}" for id, why in list(self.failures.items())[:10]]
        more = len(self.failures) - len(shown)
        rest = f"; {unasked} further ones were not asked, since none succeeded in between" if unasked else ""
        several = f"; and {more} more" if more else ""
        super().__init__(f"{len(self.failures)} questions were not answered: {'; '.join(shown)}{several}{rest}")


@dataclass(frozen=True)
class Endpoint:
    """A served model and how it may be asked.

    url: ends where /chat/completions follows, such as https://api.openai.com/v1. api_key_env: the environment variable
    that holds the key; None: OPENAI_API_KEY if it is set, and else no key. concurrency: requests at once.
    requests_per_minute: 0 is no limit. timeout: seconds for one whole request. attempts: of one request, the first
    included. first_wait, longest_wait: seconds between them, growing. give_up: questions that fail one after another
    until no more are asked. leave_out: fields of OPTIONAL that this server refuses; without `n`, samples are asked for
    one by one. max_tokens_name: what it calls the limit of an answer.
    """

    url: str
    model: str
    api_key_env: str | None = None
    concurrency: int = 8
    requests_per_minute: float = 0.0
    timeout: float = 120.0
    attempts: int = 8  # with the waits between them they outlast a limit per minute
    first_wait: float = 1.0
    longest_wait: float = 60.0
    give_up: int = 20
    leave_out: tuple[str, ...] = ()
    max_tokens_name: str = "max_tokens"

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the endpoint's URL must begin with http:// or https:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the endpoint's URL must hold no user, password or query: a key goes into the environment")
        for name in ("concurrency", "timeout", "attempts", "give_up"):
            if not getattr(self, name) > 0:
                raise ValueError(f"endpoint {name}={getattr(self, name)} must be positive")
        for name in ("requests_per_minute", "first_wait", "longest_wait"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"endpoint {name}={getattr(self, name)} must be 0 or more")
        if wrong := set(self.leave_out) - set(OPTIONAL):
            raise ValueError(f"endpoint leave_out={sorted(wrong)}: choose from {', '.join(OPTIONAL)}")


def make_answerer(endpoint: Endpoint, decoding: Decoding) -> Answerer:
    """The Answerer that asks an endpoint.

    What fails is tried again after 408, 409, 429, 5xx, a lost connection, a time-out or a malformed reply. A question
    whose attempts are used up, or that the server refuses, is put aside; `Unanswered` lists these after all the others
    have been yielded. EndpointError ends the run at once, after the replies that are there. Closing the iterator
    cancels what is under way. Raises ValueError for a key that is missing or cannot be one, ImportError without openai.
    """
    key = read_key(endpoint.api_key_env)
    _import_openai()

    def answer(questions: Sequence[Question]) -> Iterator[Reply]:
        run = _Run(endpoint, decoding, key, questions)
        thread = threading.Thread(target=run.main, name="endpoint", daemon=True)
        thread.start()
        try:
            while (reply := run.out.get()) is not None:
                yield reply
        finally:
            run.cancel()
            thread.join()
        if run.broken is not None:
            raise run.broken
        if run.fatal is not None:
            raise EndpointError(run.fatal)
        if run.failures:
            raise Unanswered(run.failures, run.unasked)

    return answer


def read_key(name: str | None) -> str | None:
    """The key in an environment variable; None for none. Errors name the variable, never its value."""
    value = os.environ.get(name or _KEY_ENV, "").strip()
    if not value:
        if name is not None:
            raise ValueError(f"--api_key_env={name}: this environment variable is not set")
        return None
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{name or _KEY_ENV} holds characters that no key has: set it again")
    return value


def mask_key(text: str, key: str | None, least: int) -> str:
    """The text with '***' for each run of `least` or more characters of the key, in upper or lower case."""
    if not key or len(key) < _SHORTEST_KEY:
        return text
    least = min(least, len(key))
    key, lower = key.lower(), "".join(c.lower() if c.isascii() else c for c in text)  # of the same length as the text
    pieces = {key[k : k + least] for k in range(len(key) - least + 1)}
    out, k = [], 0
    while k < len(text):
        end = k
        if lower[k : k + least] in pieces:
            end = k + least
            while lower[end + 1 - least : end + 1] in pieces:
                end += 1
        out.append("***" if end > k else text[k])
        k = max(end, k + 1)
    return "".join(out)


def key_in_clear(endpoint: Endpoint) -> bool:
    """Whether there is a key, longer than a placeholder, and it would cross a network without encryption."""
    parts, key = urlsplit(endpoint.url), read_key(endpoint.api_key_env) or ""
    here = parts.hostname == "localhost"
    with suppress(ValueError):  # a name, not an address
        here = here or ipaddress.ip_address(parts.hostname or "").is_loopback
    return parts.scheme == "http" and not here and len(key) >= _SHORTEST_KEY


def request_seed(seed: int, number: int, sample: int) -> int:
    """The seed int31 of a request, from the evaluation's seed, the question's number and its first sample."""
    return int(np.random.SeedSequence([seed, number, sample]).generate_state(1)[0] >> 1)


def messages_of(question: Question) -> list[dict]:
    """The messages of a question, its images as PNG data URLs where `place` has them."""
    pictures = [{"type": "image_url", "image_url": {"url": png_url(image)}} for image in question.images]
    turns = place(Prompt(question.text, question.history), pictures)
    messages: list[dict] = [{"role": "system", "content": question.system}] if question.system is not None else []
    for role, parts in turns:
        listed = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
        messages.append({"role": role, "content": listed if role == "user" else parts[0]})
    return messages


def png_url(image: Any) -> str:
    """A data URL with the pixels of an image (PIL, uint8 array or path), without loss."""
    out = io.BytesIO()
    open_image(image).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def settings(endpoint: Endpoint, decoding: Decoding, n: int, seed: int) -> dict[str, Any]:
    """Arguments of one request. What is off is not sent, since many servers know neither top_k nor n."""
    sent = {
        "temperature": decoding.temperature,
        "top_p": decoding.top_p if decoding.top_p < 1 else None,
        "seed": seed,
        "n": n if n > 1 else None,
        "max_tokens": decoding.max_new_tokens,
        "top_k": decoding.top_k or None,
    }
    kept: dict[str, Any] = {k: v for k, v in sent.items() if v is not None and k not in endpoint.leave_out}
    if "max_tokens" in kept:
        kept[endpoint.max_tokens_name] = kept.pop("max_tokens")
    if "top_k" in kept:  # no argument of the package, a field of the body
        kept["extra_body"] = {"top_k": kept.pop("top_k")}
    return kept


class _Trouble(Exception):
    """Why a request did not bring an answer. kind: 'again', 'question' (this one never will) or 'all' (none will).
    wait: seconds the server asks for; status: of its reply, if there was one."""

    def __init__(self, kind: str, why: str, wait: float | None = None, status: int | None = None):
        super().__init__(why)
        self.kind, self.why, self.wait, self.status = kind, why, wait, status


@dataclass(frozen=True)
class _Choice:
    text: str
    length: int | None
    finished: bool


class _Run:
    """One pass over questions, in a thread with an event loop of its own. out: replies, then None."""

    def __init__(self, endpoint: Endpoint, decoding: Decoding, key: str | None, questions: Sequence[Question]):
        self.endpoint, self.decoding, self._key = endpoint, decoding, key
        self.out: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        self.failures: dict[str, str] = {}
        self.unasked = 0
        self.fatal: str | None = None
        self.broken: BaseException | None = None
        self._questions = iter(questions)  # shared by all workers: each question is taken once
        self._one_by_one = "n" in endpoint.leave_out
        self._in_a_row = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task | None = None
        self._begun = threading.Event()

    def main(self) -> None:
        try:
            asyncio.run(self._all())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # the other thread waits, and raises it
            self.broken = error
        finally:
            self._begun.set()
            self.out.put(None)

    def cancel(self) -> None:
        """From another thread: ends what is under way; nothing where all is done."""
        self._begun.wait()
        if self._loop is not None and self._task is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._task.cancel)
            except RuntimeError:  # closed in between
                pass

    async def _all(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._begun.set()
        self._pace = Pace(self.endpoint.requests_per_minute)
        self._client = _import_openai().AsyncOpenAI(
            base_url=self.endpoint.url, api_key=self._key or "none", max_retries=0, timeout=self.endpoint.timeout
        )
        async with self._client, asyncio.TaskGroup() as group:
            for _ in range(self.endpoint.concurrency):
                group.create_task(self._work())
        self.unasked = sum(1 for _ in self._questions)

    @property
    def _over(self) -> bool:
        return self.fatal is not None or self._in_a_row >= self.endpoint.give_up

    async def _work(self) -> None:
        while not self._over and (question := next(self._questions, None)) is not None:
            try:
                self.out.put(await self._answer(question))
                self._in_a_row = 0
            except _Trouble as trouble:
                if trouble.kind == "all":
                    self.fatal = self.fatal or trouble.why
                else:
                    self.failures[question.id] = trouble.why
                    self._in_a_row += 1

    async def _answer(self, question: Question) -> Reply:
        try:
            messages = await asyncio.to_thread(messages_of, question)
        except (OSError, ValueError, TypeError) as error:
            raise _Trouble("question", self._clean(str(error))) from None
        choices: list[_Choice] = []
        alone = self._one_by_one
        while (missing := self.decoding.samples - len(choices)) > 0:
            n = 1 if alone else missing
            seed = request_seed(self.decoding.seed, question.number, len(choices))
            try:
                got = await self._request(messages, n, seed)
            except _Trouble as trouble:
                if n == 1 or trouble.status not in (400, 422):
                    raise
                alone = True  # perhaps the server knows no n
                continue
            choices += got[:n]
            if len(got) < n or alone:
                self._one_by_one = alone = True
        return Reply(
            question.id,
            tuple(choice.text for choice in choices),
            tuple(choice.length for choice in choices),
            tuple(choice.finished for choice in choices),
        )

    async def _request(self, messages: list[dict], n: int, seed: int) -> list[_Choice]:
        failures = 0
        while True:
            await self._pace.turn()
            try:
                return await self._attempt(messages, n, seed)
            except _Trouble as trouble:
                failures += 1
                if trouble.kind != "again":
                    raise
                if failures >= self.endpoint.attempts or self._over:
                    times = f" ({failures} attempts)" if failures > 1 else ""
                    raise _Trouble("question", trouble.why + times) from None
                if trouble.wait is not None:
                    self._pace.hold(trouble.wait)
                await asyncio.sleep(
                    max(backoff(failures, self.endpoint.first_wait, self.endpoint.longest_wait), trouble.wait or 0.0)
                )

    async def _attempt(self, messages: list[dict], n: int, seed: int) -> list[_Choice]:
        openai = _import_openai()
        arguments = settings(self.endpoint, self.decoding, n, seed)
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                reply = await self._client.chat.completions.create(
                    model=self.endpoint.model, messages=messages, **arguments
                )
            return [self._choice(choice, reply) for choice in _choices(reply)]
        except (TimeoutError, openai.APITimeoutError):
            trouble = _Trouble("again", f"no reply within {self.endpoint.timeout:g} s")
        except openai.APIStatusError as error:
            trouble = self._refused(error)
        except openai.APIConnectionError as error:
            trouble = _Trouble("again", self._clean(f"no connection ({error.__cause__ or error})"))
        # JSON that is none, too deep, or without what it must hold
        except (openai.APIError, ValueError, RecursionError) as error:
            trouble = _Trouble("again", self._clean(f"malformed reply ({error})"))
        raise trouble  # outside of the handlers, so that no request with its headers hangs on to the error

    def _refused(self, error: Any) -> _Trouble:
        status, key_name = error.status_code, self.endpoint.api_key_env or _KEY_ENV
        if status in (401, 403):  # what the server says may quote the key in part
            what = (
                f"the server refused the key in {key_name}" if self._key else f"the server wants a key: set {key_name}"
            )
            return _Trouble("all", f"{status}: {what}", status=status)
        said = error.body.get("message") if isinstance(error.body, dict) else None
        why = self._clean(f"{status}: {said or error.message}")
        if status == 404:
            return _Trouble("all", f"{why} (look at the endpoint's URL and at the model's name)", status=status)
        if status == 429 and error.code == "insufficient_quota":
            return _Trouble("all", why, status=status)
        if status in (408, 409, 425, 429) or status >= 500:
            wait = retry_after(error.response.headers)
            if wait is not None and wait > _LONGEST_HOLD:
                return _Trouble(
                    "all", f"{why} (the server asks for {wait:.0f} s of patience: try again later)", status=status
                )
            return _Trouble("again", why, wait, status)
        return _Trouble("question", why, status=status)

    def _choice(self, choice: Any, reply: Any) -> _Choice:
        message, reason = getattr(choice, "message", None), getattr(choice, "finish_reason", None)
        content = getattr(message, "content", None)
        if content is None and isinstance(reason, str):  # a refusal, or a filter that left nothing
            content = getattr(message, "refusal", None) or ""
        if not isinstance(content, str):
            raise ValueError("a choice without text")
        # The usage counts all choices of a reply together.
        drawn = getattr(getattr(reply, "usage", None), "completion_tokens", None) if len(reply.choices) == 1 else None
        content = mask_key(content, self._key, _PIECE_OF_ANSWER)
        return _Choice(content, drawn if isinstance(drawn, int) else None, reason != "length")

    def _clean(self, text: str) -> str:
        """One line, not too long, without the key or a part of it."""
        line = " ".join(mask_key(text[: 10 * _LONGEST_TEXT], self._key, _PIECE_OF_ERROR).split())
        return line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "..."


def _choices(reply: Any) -> list:
    choices = getattr(reply, "choices", None)
    if not isinstance(choices, list) or not choices:
        error = getattr(reply, "error", None)
        raise ValueError(f"no choices{f': {error}' if error else ''}")
    return choices


def _import_openai() -> Any:
    try:
        import openai
    except ImportError:
        raise ImportError("asking an endpoint needs the package openai: pip install -e '.[serve]'") from None
    return openai
