"""The judge that an endpoint serves: settings from options, and one client for a whole run."""

import asyncio
from dataclasses import dataclass, replace

from rrft_jax.remote.client import Client, Trouble
from rrft_jax.remote.endpoint import Decoding, Endpoint, read_key
from rrft_jax.rewards.judge.cache import ReplyCache
from rrft_jax.rewards.judge.judging import Judge
from rrft_jax.rewards.judge.messages import Messages
from rrft_jax.rewards.judge.settings import JudgeSettings


@dataclass(frozen=True)
class Served:
    """A judge as it was chosen: endpoint.give_up requests that fail one after another end a `Round`."""

    endpoint: Endpoint
    settings: JudgeSettings
    key_field: str = "api_key_env"  # for errors


def served(endpoint: Endpoint, settings: JudgeSettings, field: str = "") -> Served:
    """field: what stands in front of the options' names in errors. ValueError for a missing model, or an environment
    variable without a key."""
    if not endpoint.model:
        raise ValueError(f"{field}model: name the judge as its server calls it")
    key_field = f"{field}api_key_env"
    read_key(endpoint.api_key_env, key_field)
    return Served(endpoint, settings, key_field)


class ServedJudge:
    """A client and its judge, within one event loop, in which it must be made."""

    def __init__(self, chosen: Served):
        endpoint, settings = chosen.endpoint, chosen.settings
        decoding = Decoding(temperature=0.0, max_new_tokens=settings.max_tokens)
        self.name = endpoint.url
        self.endpoint = endpoint
        self.client = Client(endpoint, decoding, read_key(endpoint.api_key_env, chosen.key_field))
        self.slots = asyncio.Semaphore(endpoint.concurrency)
        self._judge = Judge(
            self._refuse, settings.rubric, settings.demonstrations, (endpoint.model, settings.max_tokens),
            settings.both_orders, ReplyCache(settings.cache),
        )  # fmt: skip

    def judge(self) -> Judge:
        """The judge for one round of requests, with what it was told before."""
        return replace(self._judge, ask=Round(self).ask)

    async def close(self) -> None:
        self._judge.cache.close()
        await self.client.close()

    @staticmethod
    async def _refuse(messages: Messages) -> str:
        raise RuntimeError("ask within a round")


class Round:
    """The requests of one batch: after `Endpoint.give_up` failures in a row, or an answer such as a refused key that
    concerns all, the others fail at once, so that a dead server costs a step a bounded time."""

    def __init__(self, connection: ServedJudge):
        self._to = connection
        self._in_a_row = 0
        self._fatal = ""

    async def ask(self, messages: Messages) -> str:
        """The text of the reply; raises Trouble."""
        async with self._to.slots:
            if self._fatal:
                raise Trouble("all", self._fatal)
            if self._over():
                raise Trouble("question", f"not asked: {self._in_a_row} requests failed one after another")
            try:
                (choice, *_) = await self._to.client.request(messages, 1, 0, self._over)
            except Trouble as trouble:
                refused = trouble.kind == "question" and trouble.status is not None  # this text alone: the server lives
                self._in_a_row = 0 if refused else self._in_a_row + 1
                if trouble.kind == "all":
                    self._fatal = trouble.why
                raise
            self._in_a_row = 0
            return choice.text

    def _over(self) -> bool:
        return bool(self._fatal) or self._in_a_row >= self._to.endpoint.give_up
