"""One judge over any back end: asks for verdicts, once for equal items, in both orders of a pair."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from rrft_jax.rewards.judge.cache import ReplyCache, key_of
from rrft_jax.rewards.judge.demonstrations import Demonstration
from rrft_jax.rewards.judge.items import Item, Pair
from rrft_jax.rewards.judge.messages import Messages, build_messages
from rrft_jax.rewards.judge.parsing import read_score, read_winner
from rrft_jax.rewards.judge.rubric import Rubric
from rrft_jax.rewards.judge.scoring import preference, swapped, unit

Ask = Callable[[Messages], Awaitable[str]]  # a back end: from a chat to the reply's text


@dataclass(frozen=True)
class Judgement:
    """value: in [0, 1]; a score in units of the scale, or how far a is preferred to b. unread: whether a reply held no
    verdict, for which the value is 0.0 of an Item and 0.5 of a Pair. replies: as the judge gave them."""

    value: float
    unread: bool
    replies: tuple[str, ...]


@dataclass(frozen=True)
class Judge:
    """ask: the back end. identity: plain values that tell the judge from others in the cache (model, settings).
    both_orders: ask for a pair twice, with the responses exchanged, against position bias.

    Raises whatever `ask` raises. Replies without a verdict are not cached.
    """

    ask: Ask
    rubric: Rubric
    demonstrations: tuple[Demonstration, ...] = ()
    identity: Any = None
    both_orders: bool = True
    cache: ReplyCache = field(default_factory=ReplyCache)
    _under_way: dict[str, asyncio.Future] = field(default_factory=dict, repr=False, compare=False)

    async def score(self, item: Item) -> Judgement:
        reply, score = await self._verdict(item, read_score)
        return Judgement(0.0 if score is None else unit(score, self.rubric), score is None, (reply,))

    async def compare(self, pair: Pair) -> Judgement:
        orders = (pair, pair.swapped()) if self.both_orders else (pair,)
        found = await asyncio.gather(*(self._verdict(order, read_winner) for order in orders))
        winners = [found[0][1], *(swapped(winner) for _, winner in found[1:])]
        return Judgement(preference(*winners), None in winners, tuple(reply for reply, _ in found))

    async def _verdict(self, item: Item | Pair, read: Callable) -> tuple[str, Any]:
        """The reply about an item and what was read in it, from the cache, from an equal request under way, or new."""
        messages = build_messages(item, self.rubric, self.demonstrations)
        texts = "\n".join(item.parts().values())
        key = key_of(self.identity, messages)
        if (kept := self.cache.get(key)) is not None and (verdict := read(kept, self.rubric, texts)) is not None:
            return kept, verdict
        if key in self._under_way:
            reply = await asyncio.shield(self._under_way[key])
            return reply, read(reply, self.rubric, texts)
        task = self._under_way[key] = asyncio.ensure_future(self.ask(messages))
        try:
            reply = await task
        finally:
            del self._under_way[key]
        verdict = read(reply, self.rubric, texts)
        if verdict is not None:
            self.cache.put(key, reply)
        return reply, verdict
