"""Questions to a served model: any URL that speaks OpenAI's chat completions.

Needs the package openai, which the extra `serve` brings.
"""

import asyncio
import base64
import io
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rrft_jax.data.decoding import open_image
from rrft_jax.evaluation.questions import Answerer, Question, Reply
from rrft_jax.processing.chat import Prompt, place_pictures
from rrft_jax.remote.client import Choice, Client, Trouble, import_openai
from rrft_jax.remote.endpoint import Decoding, Endpoint, EndpointError, read_key


class Unanswered(ValueError):
    """Raised after all other replies. failures: question id -> why; unasked: how many were not tried any more."""

    def __init__(self, failures: Mapping[str, str], unasked: int = 0):
        self.failures, self.unasked = dict(failures), unasked
        shown = [f"{id}: {why}" for id, why in list(self.failures.items())[:10]]
        more = len(self.failures) - len(shown)
        rest = f"; {unasked} further ones were not asked, since none succeeded in between" if unasked else ""
        several = f"; and {more} more" if more else ""
        super().__init__(f"{len(self.failures)} questions were not answered: {'; '.join(shown)}{several}{rest}")


def make_answerer(endpoint: Endpoint, decoding: Decoding) -> Answerer:
    """The Answerer that asks an endpoint.

    What fails is tried again after 408, 409, 429, 5xx, a lost connection, a time-out or a malformed reply. A question
    whose attempts are used up, or that the server refuses, is put aside; `Unanswered` lists these after all the others
    have been yielded. EndpointError ends the run at once, after the replies that are there. Closing the iterator
    cancels what is under way. Raises ValueError for a key that is missing or cannot be one, ImportError without openai.
    """
    key = read_key(endpoint.api_key_env)
    import_openai()

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


def request_seed(seed: int, number: int, sample: int) -> int:
    """The seed int31 of a request, from the evaluation's seed, the question's number and its first sample."""
    return int(np.random.SeedSequence([seed, number, sample]).generate_state(1)[0] >> 1)


def messages_of(question: Question) -> list[dict]:
    """The messages of a question, its images as PNG data URLs where `place` has them."""
    pictures = [{"type": "image_url", "image_url": {"url": png_url(image)}} for image in question.images]
    turns = place_pictures(Prompt(question.text, question.history), pictures)
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
        self._client = Client(self.endpoint, self.decoding, self._key)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.endpoint.concurrency):
                    group.create_task(self._work())
        finally:
            await self._client.close()
        self.unasked = sum(1 for _ in self._questions)

    @property
    def _over(self) -> bool:
        return self.fatal is not None or self._in_a_row >= self.endpoint.give_up

    async def _work(self) -> None:
        while not self._over and (question := next(self._questions, None)) is not None:
            try:
                self.out.put(await self._answer(question))
                self._in_a_row = 0
            except Trouble as trouble:
                if trouble.kind == "all":
                    self.fatal = self.fatal or trouble.why
                else:
                    self.failures[question.id] = trouble.why
                    self._in_a_row += 1

    async def _answer(self, question: Question) -> Reply:
        try:
            messages = await asyncio.to_thread(messages_of, question)
        except (OSError, ValueError, TypeError) as error:
            raise Trouble("question", self._client.clean(str(error))) from None
        choices: list[Choice] = []
        alone = self._one_by_one
        while (missing := self.decoding.samples - len(choices)) > 0:
            n = 1 if alone else missing
            seed = request_seed(self.decoding.seed, question.number, len(choices))
            try:
                got = await self._client.request(messages, n, seed, lambda: self._over)
            except Trouble as trouble:
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
