"""The judge that this process holds: the frozen model of a run, or one loaded for it, with a judge's adapter."""

import asyncio
from dataclasses import dataclass

from rrft_jax.remote.client import Trouble
from rrft_jax.rewards.base import Base, Planned
from rrft_jax.rewards.judge.cache import ReplyCache
from rrft_jax.rewards.judge.judging import Judge
from rrft_jax.rewards.judge.messages import Messages
from rrft_jax.rewards.judge.settings import JudgeSettings


@dataclass(frozen=True)
class InProcess:
    """A judge as it was chosen. adapter: a folder, or "" for the base as it is. rows: chats at a time."""

    base: Planned
    settings: JudgeSettings
    adapter: str = ""
    rows: int = 8


def in_process(base: Planned, settings: JudgeSettings, adapter: str = "", rows: int = 8, field: str = "") -> InProcess:
    """field: what stands in front of the options' names in errors. ValueError where the base cannot be lent, or the
    adapter does not fit it."""
    if rows < 1:
        raise ValueError(f"{field}concurrency={rows} must be at least 1: so many texts are judged at a time")
    try:
        base.check(adapter)
    except (ValueError, OSError) as error:
        raise ValueError(f"{field}adapter={adapter!r}: {error}" if adapter else f"{field}backend: {error}") from None
    return InProcess(base, settings, adapter, rows)


class InProcessJudge:
    """Requests that come together are answered together, in a thread: other rewards go on meanwhile."""

    def __init__(self, chosen: InProcess):
        settings, base = chosen.settings, chosen.base
        if not isinstance(base, Base):
            raise RuntimeError("the run has not loaded its base yet, so it cannot answer")
        self._base = base
        self.name = f"the model in this process{f' with {chosen.adapter}' if chosen.adapter else ''}"
        self._chosen = chosen
        self._waiting: list[tuple[Messages, asyncio.Future]] = []
        self._tasks: set[asyncio.Task] = set()
        identity = (base.identity(chosen.adapter), settings.max_tokens)
        self._judge = Judge(
            self._ask, settings.rubric, settings.demonstrations, identity, settings.both_orders,
            ReplyCache(settings.cache),
        )  # fmt: skip

    def judge(self) -> Judge:
        return self._judge

    async def close(self) -> None:
        self._judge.cache.close()

    async def _ask(self, messages: Messages) -> str:
        """The text of the reply; raises Trouble where the chat is too long for the model."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((messages, future))
        if len(self._waiting) == 1:
            task = loop.create_task(self._answer())
            self._tasks.add(task)  # the loop itself would forget it
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _answer(self) -> None:
        count = 0
        while count < len(self._waiting):  # more come in this turn of the loop, or the next
            count = len(self._waiting)
            await asyncio.sleep(0)
        waiting, self._waiting = self._waiting, []
        loop, chosen = asyncio.get_running_loop(), self._chosen

        def settle(future: asyncio.Future, reply: str | Exception) -> None:
            if future.done():  # whoever asked has left
                return
            if isinstance(reply, str):
                future.set_result(reply)
            else:
                future.set_exception(reply)

        def tell(number: int, reply: str | ValueError) -> None:
            said = Trouble("question", f"not asked: {reply}") if isinstance(reply, ValueError) else reply
            loop.call_soon_threadsafe(settle, waiting[number][1], said)

        try:
            asked = [messages for messages, _ in waiting], chosen.settings.max_tokens, chosen.adapter, chosen.rows, tell
            await asyncio.to_thread(self._base.replies, *asked)
        except Exception as error:  # such as a device without memory left: of all that are not told yet
            for _, future in waiting:
                settle(future, error)
