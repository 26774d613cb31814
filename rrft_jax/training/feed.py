"""The batch of each update: made when its turn comes, or drawn one batch ahead, while the one before is trained on.

A batch of prompts with its completions serves config.train.minibatches x rollout_epochs updates. With
config.rollout.ahead=1 the last update on a batch dispatches the rollouts of the next one first, with the parameters
that it is about to change; the host scores them while the devices do the update. The first batch is drawn when needed.
A checkpoint holds the completions that later updates still train on, with their rewards: no later parameters would draw
them again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rrft_jax.parallel.processes import together
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.run.clock import Clock
from rrft_jax.training.batches import HostBatch
from rrft_jax.training.rewarding import RewardResults
from rrft_jax.training.rollouts import Drawn, Ready, Scored, by_prompt
from rrft_jax.training.step import Batch


@dataclass(frozen=True)
class InFlight:
    """Completions that the next update trains on, as a checkpoint holds them: numpy, [B, G, ...] by prompt, so that a
    run may resume on other devices."""

    rollouts: Rollouts
    results: RewardResults


class Feed:
    """Makes each batch when its turn comes.

    batches: host batches from the first step on. make(params, host batch, t): what update t trains on.
    """

    def __init__(self, batches: Iterator[HostBatch], make: Callable[[dict, HostBatch, int], Ready], clock: Clock):
        self._batches, self._make, self._clock = batches, make, clock

    def take(self, params: dict, step: int) -> Ready:
        """What update `step` (0-based) trains on; params: the parameters before that update."""
        host = self._next_host()
        if host is None:
            raise RuntimeError(f"the loader has no batch for update {step}")
        return self._make(params, host, step)

    def work_ahead(self) -> None:
        """Called when an update has been dispatched."""

    def in_flight(self) -> InFlight | None:
        """What a checkpoint must hold after this update; a collective."""
        return None

    def _next_host(self) -> HostBatch | None:
        host = together(lambda: next(self._batches, None))
        self._clock.lap("data")
        return host


class RolloutFeed(Feed):
    """Sampled and rewarded batches, each for `updates` updates.

    draw(params, host batch, t, stored=None) dispatches the rollouts of batch t, score(drawn, results=None) waits for
    them; part(batch, t, update) is what an update takes of a batch. ahead: see the top of the file. in_flight: what the
    first update trains on, where an earlier session drew it.
    """

    def __init__(
        self,
        batches: Iterator[HostBatch],
        draw: Callable[..., Drawn],
        score: Callable[..., Scored],
        clock: Clock,
        *,
        updates: int = 1,
        ahead: bool = False,
        part: Callable[[Batch, int, int], Batch] = lambda batch, t, update: batch,
        in_flight: InFlight | None = None,
    ):
        self._batches, self._draw, self._score, self._clock = batches, draw, score, clock
        self._updates, self._ahead, self._part = updates, ahead, part
        self._stored = in_flight
        self._current: tuple[Drawn, Scored] | None = None  # of the batch that updates are taken on
        self._next: tuple[Drawn, Scored] | None = None  # of the one after it, if it is drawn already
        self._drawn: Drawn | None = None
        self._last = False  # whether the update under way is the last on its batch

    def take(self, params: dict, step: int) -> Ready:
        t, update = divmod(step, self._updates)
        self._last = update == self._updates - 1
        fresh = self._current is None
        if fresh:
            self._current, self._next = self._next or self._first(params, t), None
        if self._ahead and self._last:
            following = self._next_host()
            self._drawn = None if following is None else self._draw(params, following, t + 1)
        if not fresh:
            self._no_time()
        batch, metrics, groups = self._current[1].ready()
        batch = self._part(batch, t, update)
        return (batch, metrics, groups) if update == 0 else (batch, {}, [])

    def work_ahead(self) -> None:
        if self._drawn is not None:
            self._next, self._drawn = (self._drawn, self._score(self._drawn)), None
        elif self._ahead and self._last:
            self._no_time()
        if self._last:
            self._current = None  # frees its arrays before the next batch's, or an evaluation's, are made

    def in_flight(self) -> InFlight | None:
        waiting = self._current or self._next
        return InFlight(by_prompt(waiting[0]), waiting[1].results) if waiting else None

    def _first(self, params: dict, t: int) -> tuple[Drawn, Scored]:
        host, known, self._stored = self._next_host(), self._stored, None
        if known is None:
            drawn = self._draw(params, host, t)
            return drawn, self._score(drawn)
        drawn = self._draw(params, host, t, known.rollouts)
        return drawn, self._score(drawn, known.results)

    def _no_time(self) -> None:
        """A step that neither draws nor scores logs these phases as well, with no time in them."""
        for phase in ("rollout", "reward"):
            self._clock.lap(phase)
