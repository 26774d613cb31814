"""What each update trains on: made when its turn comes, or drawn one batch ahead, while the one before is trained on.

A batch of prompts with its completions serves config.train.minibatches x rollout_epochs updates. With
config.rollout.ahead=1 the last update on a batch dispatches the rollouts of the next one first, with the parameters
that it is about to change; the host scores them while the devices do the update. The first batch is drawn when needed.
A checkpoint holds the completions that later updates still train on, with their rewards: no later parameters would draw
them again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rrft_jax.data.loader import make_loader
from rrft_jax.parallel.processes import together
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.run.clock import Clock
from rrft_jax.training.algorithm import Run
from rrft_jax.training.batches import HostBatch
from rrft_jax.training.minibatches import Minibatches, padded
from rrft_jax.training.programs import step_layout
from rrft_jax.training.rewarding import Verdicts
from rrft_jax.training.rollouts import Drawn, Ready, Scored, by_prompt, draw_batch, score_batch


@dataclass(frozen=True)
class InFlight:
    """Completions that the next update trains on, as a checkpoint holds them: numpy, [B, G, ...] by prompt, so that a
    run may resume on other devices."""

    rollouts: Rollouts
    verdicts: Verdicts


class Feed:
    """Each batch when its turn comes. batches: host batches from the first step on; make(params, host batch, t)."""

    def __init__(self, batches: Iterator[HostBatch], make: Callable[[dict, HostBatch, int], Ready], clock: Clock):
        self._batches, self._make, self._clock = batches, make, clock

    def take(self, params: dict, step: int) -> Ready:
        """What update `step` (0-based) trains on; params are those before it."""
        return self._make(params, self._next_host(), step)

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
    """Sampled and rewarded batches, each for as many updates as `minibatches` says.

    step: the first update of this session. in_flight: what it trains on, where an earlier session drew it.
    """

    def __init__(self, run: Run, clock: Clock, minibatches: Minibatches, step: int, in_flight: InFlight | None = None):
        config, updates = run.config, minibatches.updates
        last = -(-config.train.steps // updates)
        self._batches = make_loader(run.source.fetch, step // updates, last, prefetch=2, threads=2)
        self._run, self._clock, self._minibatches = run, clock, minibatches
        self._layout = step_layout(config, run.algorithm.group(config), run.mesh)
        self._stored = in_flight
        self._step = step
        self._current: tuple[Drawn, Scored] | None = None  # of the batch that updates are taken on
        self._next: tuple[Drawn, Scored] | None = None  # of the one after it, where that is there already
        self._drawn: Drawn | None = None

    def take(self, params: dict, step: int) -> Ready:
        t, update = divmod(step, self._minibatches.updates)
        new = update == 0 or self._current is None
        if new:
            self._current, self._next = self._next or self._first(params, t), None
        if self._ahead(update):
            following = self._next_host()
            self._drawn = None if following is None else self._draw(params, following, t + 1)
        if not new:
            for phase in ("rollout", "reward"):  # every step has these metrics
                self._clock.lap(phase)
        self._step = step + 1
        batch, metrics, groups = self._current[1].ready()
        if self._minibatches.count > 1:
            numbers = self._minibatches.prompts_of(self._run.config.seed, t, update, self._layout.drawn.prompts)
            batch = self._run.programs.select(batch, *padded(numbers, self._layout.update))
        return (batch, metrics, groups) if update == 0 else (batch, {}, [])

    def work_ahead(self) -> None:
        if self._drawn is not None:
            self._next, self._drawn = (self._drawn, self._score(self._drawn)), None
        elif self._ahead((self._step - 1) % self._minibatches.updates):
            for phase in ("rollout", "reward"):  # the last step has these metrics, too
                self._clock.lap(phase)
        if self._step % self._minibatches.updates == 0:
            self._current = None  # or its arrays would lie beside the next batch's, and beside an evaluation

    def in_flight(self) -> InFlight | None:
        waiting = self._current or self._next
        return InFlight(by_prompt(waiting[0]), waiting[1].verdicts) if waiting else None

    def _ahead(self, update: int) -> bool:
        return bool(self._run.config.rollout.ahead) and update == self._minibatches.updates - 1

    def _first(self, params: dict, t: int) -> tuple[Drawn, Scored]:
        host, known, self._stored = self._next_host(), self._stored, None
        if known is None:
            drawn = self._draw(params, host, t)
            return drawn, self._score(drawn)
        drawn = self._draw(params, host, t, known.rollouts)
        return drawn, self._score(drawn, known.verdicts)

    def _draw(self, params: dict, host: HostBatch, t: int, stored: Rollouts | None = None) -> Drawn:
        run = self._run
        return draw_batch(run.config, run.programs, run.mesh, params, run.reference, host, t, self._clock, stored)

    def _score(self, drawn: Drawn, known: Verdicts | None = None) -> Scored:
        run = self._run
        advantages = run.algorithm.advantages(run.config)
        return score_batch(run.config, run.processor, run.rewards, advantages, run.mesh, self._clock, drawn, known)
