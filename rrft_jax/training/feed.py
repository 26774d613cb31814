"""What each step trains on: made when its turn comes, or drawn one step ahead, while the step before is taken.

With config.rollout.ahead=1 step t (0-based) dispatches the rollouts of step t + 1 with the parameters that it is about
to update, then its own update; the host scores the former while the devices do the latter. Step 0 draws its own too.
A checkpoint then holds the completions in flight, with their verdicts: no later parameters would draw them again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from rrft_jax.parallel.processes import together
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.run.checkpoints import Checkpoints
from rrft_jax.run.clock import Clock
from rrft_jax.training.batches import HostBatch
from rrft_jax.training.grpo import Drawn, Ready, Scored, by_prompt
from rrft_jax.training.rewarding import Verdicts

IN_FLIGHT = "in_flight"  # in a checkpoint's arrays and host state


@dataclass(frozen=True)
class InFlight:
    """Completions that the next step will train on, as a checkpoint holds them: numpy, [B, G, ...] by prompt, so that
    a run may go on on other devices."""

    rollouts: Rollouts
    verdicts: Verdicts


def save(
    checkpoints: Checkpoints, step: int, state: dict, host: dict, found: InFlight | None, metric: float | None = None
) -> None:
    """`checkpoints.save`, with what is in flight: arrays beside the state, the rest beside the host state."""
    if found is not None:
        state = state | {IN_FLIGHT: _arrays(found)}
        host = host | {IN_FLIGHT: {"text_metrics": found.verdicts.text_metrics, "failures": found.verdicts.failures}}
    checkpoints.save(step, state, host, metric)


def restore(
    checkpoints: Checkpoints, state: dict, config: ConfigDict, rewards: int
) -> tuple[dict, dict, int, InFlight | None]:
    """(state, host state, step, what was in flight) of the latest checkpoint. rewards: the number of functions."""
    expected = config.algorithm == "grpo" and config.rollout.ahead and checkpoints.latest_step() < config.train.steps
    target = state | {IN_FLIGHT: _arrays(_blank(config, rewards))} if expected else state
    state, host, step = checkpoints.restore(target)
    if not expected:
        return state, host, step, None
    arrays, rest = state.pop(IN_FLIGHT), host.pop(IN_FLIGHT)
    sums = {name: tuple(pair) for name, pair in rest["text_metrics"].items()}
    verdicts = Verdicts(arrays["values"], arrays["total"], sums, rest["failures"])
    return state, host, step, InFlight(Rollouts(**arrays["rollouts"]), verdicts)


def _arrays(found: InFlight) -> dict[str, Any]:
    return {"rollouts": vars(found.rollouts), "values": found.verdicts.values, "total": found.verdicts.total}


def _blank(config: ConfigDict, rewards: int) -> InFlight:
    B, G, C = config.train.prompts, config.rollout.group, config.rollout.max_completion_length
    tokens, flags, scores = (np.empty((B, G, C), dtype) for dtype in (np.int32, bool, np.float32))
    rollouts = Rollouts(tokens, flags, scores, scores, np.empty((B, G), bool))
    return InFlight(rollouts, Verdicts(np.empty((rewards, B, G)), np.empty((B, G), np.float32), {}, 0))


class Feed:
    """Each batch when its turn comes. batches: host batches from the first step on; make(params, host batch, t)."""

    def __init__(self, batches: Iterator[HostBatch], make: Callable[[dict, HostBatch, int], Ready], clock: Clock):
        self._batches, self._make, self._clock = batches, make, clock

    def take(self, params: dict, t: int) -> Ready:
        """What step t trains on."""
        return self._make(params, self._next_host(), t)

    def work_ahead(self) -> None:
        """Called when the update of a step has been dispatched."""

    def in_flight(self) -> InFlight | None:
        """What a checkpoint must hold after this step; a collective."""
        return None

    def _next_host(self) -> HostBatch | None:
        host = together(lambda: next(self._batches, None))
        self._clock.lap("data")
        return host


class AheadFeed(Feed):
    """One step ahead. draw(params, host batch, t, stored=None) dispatches, score(drawn, verdicts=None) waits.

    params of `take` are those before the update of step t. in_flight: what the first step trains on, where an earlier
    session drew it.
    """

    def __init__(
        self,
        batches: Iterator[HostBatch],
        draw: Callable[..., Drawn],
        score: Callable[..., Scored],
        clock: Clock,
        in_flight: InFlight | None = None,
    ):
        self._batches, self._draw, self._score, self._clock = batches, draw, score, clock
        self._stored = in_flight
        self._next: tuple[Drawn, Scored] | None = None  # of the step to come
        self._drawn: Drawn | None = None

    def take(self, params: dict, t: int) -> Ready:
        scored = self._next[1] if self._next else self._first(params, t)
        following = self._next_host()
        self._drawn = None if following is None else self._draw(params, following, t + 1)
        return scored.ready()

    def work_ahead(self) -> None:
        if self._drawn is not None:
            self._next = self._drawn, self._score(self._drawn)
            return
        self._next = None
        for phase in ("rollout", "reward"):  # the last step has these metrics, too
            self._clock.lap(phase)

    def in_flight(self) -> InFlight | None:
        if self._next is None:
            return None
        drawn, scored = self._next
        return InFlight(by_prompt(drawn), scored.verdicts)

    def _first(self, params: dict, t: int) -> Scored:
        host, known, self._stored = self._next_host(), self._stored, None
        if known is None:
            return self._score(self._draw(params, host, t))
        return self._score(self._draw(params, host, t, known.rollouts), known.verdicts)
