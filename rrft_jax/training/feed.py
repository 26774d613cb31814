"""What each step trains on: made when its turn comes, or drawn one step ahead, while the step before is taken.

With config.rollout.ahead=1 step t (0-based) dispatches the rollouts of step t + 1 with the parameters that it is about
to update, then its own update; the host scores the former while the devices do the latter. Step 0 draws its own too.
A checkpoint then holds the completions in flight, with their verdicts: no later parameters would draw them again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.parallel.mesh import batch_sharding
from rrft_jax.parallel.processes import together
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.training.checkpoints import Checkpoints
from rrft_jax.training.rollouts import Drawn, Ready, Scored, Verdicts
from rrft_jax.training.rows import step_layout
from rrft_jax.training.source import HostBatch
from rrft_jax.training.timing import Clock

IN_FLIGHT = "in_flight"  # in a checkpoint's arrays and host state


@dataclass(frozen=True)
class InFlight:
    """Completions that the next step will train on, as a checkpoint holds them."""

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
    checkpoints: Checkpoints, state: dict, config: ConfigDict, mesh: Mesh, rewards: int
) -> tuple[dict, dict, int, InFlight | None]:
    """(state, host state, step, what was in flight) of the latest checkpoint. rewards: the number of functions."""
    expected = config.algorithm == "grpo" and config.rollout.ahead and checkpoints.latest_step() < config.train.steps
    target = state | {IN_FLIGHT: _arrays(_blank(config, mesh, rewards))} if expected else state
    state, host, step = checkpoints.restore(target)
    if not expected:
        return state, host, step, None
    arrays, rest = state.pop(IN_FLIGHT), host.pop(IN_FLIGHT)
    sums = {name: tuple(pair) for name, pair in rest["text_metrics"].items()}
    verdicts = Verdicts(arrays["values"], arrays["total"], sums, rest["failures"])
    return state, host, step, InFlight(Rollouts(**arrays["rollouts"]), verdicts)


def _arrays(found: InFlight) -> dict[str, Any]:
    return {"rollouts": vars(found.rollouts), "values": found.verdicts.values, "total": found.verdicts.total}


def _blank(config: ConfigDict, mesh: Mesh, rewards: int) -> InFlight:
    """Shapes with shardings, and numpy arrays for what stays on the host."""
    layout, G, C = step_layout(config, mesh), config.rollout.group, config.rollout.max_completion_length
    rows = lambda dtype, *shape: jax.ShapeDtypeStruct(  # noqa: E731
        (layout.rows, G // layout.split, *shape), dtype, sharding=batch_sharding(mesh)
    )
    rollouts = Rollouts(rows(jnp.int32, C), rows(bool, C), rows(jnp.float32, C), rows(jnp.float32, C), rows(bool))
    whole = (layout.rows // layout.split, G)
    return InFlight(rollouts, Verdicts(np.empty((rewards, *whole)), np.empty(whole, np.float32), {}, 0))


class Feed:
    """Each batch when its turn comes. batches: host batches from the first step on; make(params, host batch, t)."""

    in_flight: InFlight | None = None

    def __init__(self, batches: Iterator[HostBatch], make: Callable[[dict, HostBatch, int], Ready], clock: Clock):
        self._batches, self._make, self._clock = batches, make, clock

    def take(self, params: dict, t: int) -> Ready:
        """What step t trains on."""
        return self._make(params, self._next_host(), t)

    def work_ahead(self) -> None:
        """Called when the update of a step has been dispatched."""

    def _next_host(self) -> HostBatch | None:
        host = together(lambda: next(self._batches, None))
        self._clock.lap("data")
        return host


class AheadFeed(Feed):
    """One step ahead. draw(params, host batch, t, rollouts=None) dispatches, score(drawn, verdicts=None) waits.

    params of `take` are those before the update of step t. in_flight: what the first step trains on, where an earlier
    session drew it; after `work_ahead`, what a checkpoint must hold.
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
        self.in_flight = in_flight
        self._ready: Scored | None = None
        self._drawn: Drawn | None = None

    def take(self, params: dict, t: int) -> Ready:
        scored = self._ready or self._first(params, t)
        following = self._next_host()
        self._drawn = None if following is None else self._draw(params, following, t + 1)
        return scored.ready()

    def work_ahead(self) -> None:
        self._ready = self.in_flight = None
        if self._drawn is not None:
            self._ready = self._score(self._drawn)
            self.in_flight = InFlight(self._drawn.rollouts, self._ready.verdicts)

    def _first(self, params: dict, t: int) -> Scored:
        host, known = self._next_host(), self.in_flight
        if known is None:
            return self._score(self._draw(params, host, t))
        return self._score(self._draw(params, host, t, known.rollouts), known.verdicts)
