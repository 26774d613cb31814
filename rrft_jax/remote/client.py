"""Requests to a served model that speaks OpenAI's chat completions, tried again while that may help.

Needs the package openai, which the extra `serve` brings.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rrft_jax.remote.endpoint import KEY_ENV, Decoding, Endpoint, mask_key, settings
from rrft_jax.remote.pacing import Pace, backoff, retry_after

_LONGEST_HOLD = 600.0  # seconds of Retry-After that are waited for
_LONGEST_TEXT = 300  # characters of a server's message that are quoted
# Characters of a key in a row that are taken out of an error, where a server may quote the key in part, and of an
# answer, where a few of them may be ordinary text.
_PIECE_OF_ERROR, _PIECE_OF_ANSWER = 6, 16


class Trouble(Exception):
    """Why a request did not bring an answer. kind: 'again', 'question' (this one never will) or 'all' (none will).
    wait: seconds the server asks for; status: of its reply, if there was one."""

    def __init__(self, kind: str, why: str, wait: float | None = None, status: int | None = None):
        super().__init__(why)
        self.kind, self.why, self.wait, self.status = kind, why, wait, status


@dataclass(frozen=True)
class Choice:
    text: str
    length: int | None
    finished: bool


class Client:
    """Requests within one event loop, where it must be made and closed. key: as `read_key` gives it."""

    def __init__(self, endpoint: Endpoint, decoding: Decoding, key: str | None):
        self.endpoint, self.decoding, self._key = endpoint, decoding, key
        self._pace = Pace(endpoint.requests_per_minute)
        self._client = import_openai().AsyncOpenAI(
            base_url=endpoint.url, api_key=key or "none", max_retries=0, timeout=endpoint.timeout
        )

    async def close(self) -> None:
        await self._client.close()

    async def request(
        self, messages: list[dict], n: int, seed: int, over: Callable[[], bool] = lambda: False
    ) -> list[Choice]:
        """Up to n choices of a reply. over: whether to stop trying. Raises Trouble, of kind 'question' where the
        attempts are used up."""
        failures = 0
        while True:
            await self._pace.turn()
            try:
                return await self._attempt(messages, n, seed)
            except Trouble as trouble:
                failures += 1
                if trouble.kind != "again":
                    raise
                if failures >= self.endpoint.attempts or over():
                    times = f" ({failures} attempts)" if failures > 1 else ""
                    raise Trouble("question", trouble.why + times) from None
                if trouble.wait is not None:
                    self._pace.hold(trouble.wait)
                await asyncio.sleep(
                    max(backoff(failures, self.endpoint.first_wait, self.endpoint.longest_wait), trouble.wait or 0.0)
                )

    async def _attempt(self, messages: list[dict], n: int, seed: int) -> list[Choice]:
        openai = import_openai()
        arguments = settings(self.endpoint, self.decoding, n, seed)
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                reply = await self._client.chat.completions.create(
                    model=self.endpoint.model, messages=messages, **arguments
                )
            return [self._choice(choice, reply) for choice in _choices(reply)]
        except (TimeoutError, openai.APITimeoutError):
            trouble = Trouble("again", f"no reply within {self.endpoint.timeout:g} s")
        except openai.APIStatusError as error:
            trouble = self._refused(error)
        except openai.APIConnectionError as error:
            trouble = Trouble("again", self.clean(f"no connection ({error.__cause__ or error})"))
        # JSON that is none, too deep, or without what it must hold
        except (openai.APIError, ValueError, RecursionError) as error:
            trouble = Trouble("again", self.clean(f"malformed reply ({error})"))
        raise trouble  # outside of the handlers, so that no request with its headers hangs on to the error

    def _refused(self, error: Any) -> Trouble:
        status, key_name = error.status_code, self.endpoint.api_key_env or KEY_ENV
        if status in (401, 403):  # what the server says may quote the key in part
            what = (
                f"the server refused the key in {key_name}" if self._key else f"the server wants a key: set {key_name}"
            )
            return Trouble("all", f"{status}: {what}", status=status)
        said = error.body.get("message") if isinstance(error.body, dict) else None
        why = self.clean(f"{status}: {said or error.message}")
        if status == 404:
            return Trouble("all", f"{why} (look at the endpoint's URL and at the model's name)", status=status)
        if status == 429 and error.code == "insufficient_quota":
            return Trouble("all", why, status=status)
        if status in (408, 409, 425, 429) or status >= 500:
            wait = retry_after(error.response.headers)
            if wait is not None and wait > _LONGEST_HOLD:
                return Trouble(
                    "all", f"{why} (the server asks for {wait:.0f} s of patience: try again later)", status=status
                )
            return Trouble("again", why, wait, status)
        return Trouble("question", why, status=status)

    def _choice(self, choice: Any, reply: Any) -> Choice:
        message, reason = getattr(choice, "message", None), getattr(choice, "finish_reason", None)
        content = getattr(message, "content", None)
        if content is None and isinstance(reason, str):  # a refusal, or a filter that left nothing
            content = getattr(message, "refusal", None) or ""
        if not isinstance(content, str):
            raise ValueError("a choice without text")
        # The usage counts all choices of a reply together.
        drawn = getattr(getattr(reply, "usage", None), "completion_tokens", None) if len(reply.choices) == 1 else None
        content = mask_key(content, self._key, _PIECE_OF_ANSWER)
        return Choice(content, drawn if isinstance(drawn, int) else None, reason != "length")

    def clean(self, text: str) -> str:
        """One line, not too long, without the key or a part of it."""
        line = " ".join(mask_key(text[: 10 * _LONGEST_TEXT], self._key, _PIECE_OF_ERROR).split())
        return line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "..."


def _choices(reply: Any) -> list:
    choices = getattr(reply, "choices", None)
    if not isinstance(choices, list) or not choices:
        error = getattr(reply, "error", None)
        raise ValueError(f"no choices{f': {error}' if error else ''}")
    return choices


def import_openai() -> Any:
    try:
        import openai
    except ImportError:
        raise ImportError("asking an endpoint needs the package openai: pip install -e '.[serve]'") from None
    return openai
