"""What changes during a run, and its way into a checkpoint and back."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.run.checkpoints import Checkpoints, released
from rrft_jax.run.metrics import from_json, to_json
from rrft_jax.training.algorithm import Algorithm
from rrft_jax.training.feed import InFlight
from rrft_jax.training.rewarding import RewardResults
from rrft_jax.training.rollouts import completions_per_prompt

IN_FLIGHT, UNEVALUATED = "in_flight", "unevaluated"  # in a checkpoint's arrays and host state, in its host state


@dataclass
class TrainState:
    """arrays: what the train step takes and gives (parameters, optimizer, counters). step: updates taken.

    num_tokens, cpu_seconds: of this and all former sessions. pixels: the limits that pictures are resized to.
    unevaluated: the metrics of a step that was saved before it was evaluated. in_flight: what the next update trains
    on, where an earlier session drew it.
    """

    arrays: dict[str, Any]
    pixels: list[int]
    step: int = 0
    num_tokens: float = 0.0
    cpu_seconds: float = 0.0
    unevaluated: dict[str, float] | None = None
    in_flight: InFlight | None = field(default=None, repr=False)

    @property
    def params(self) -> dict:
        """The trainable parameters."""
        return self.arrays["params"]


def save(checkpoints: Checkpoints, state: TrainState, found: InFlight | None, metric: float | None = None) -> None:
    """`checkpoints.save` of all that a resume needs. found: what later updates still train on."""
    arrays = state.arrays
    host = {"num_tokens": state.num_tokens, "cpu_seconds": state.cpu_seconds, "pixels": state.pixels}
    if state.unevaluated is not None:
        host[UNEVALUATED] = to_json(state.unevaluated)
    if found is not None:
        arrays = arrays | {IN_FLIGHT: _arrays(found)}
        host[IN_FLIGHT] = {"text_metrics": found.results.text_metrics, "failures": found.results.failures}
    checkpoints.save(state.step, arrays, host, metric)


def restore(
    checkpoints: Checkpoints, state: TrainState, config: ConfigDict, algorithm: Algorithm, rewards: int
) -> TrainState:
    """The latest checkpoint, in place of `state`, whose arrays are freed first: memory would not hold both.

    rewards: the number of reward functions.
    """
    latest = checkpoints.latest_step() or 0
    middle = latest % algorithm.updates(config) > 0
    expected = algorithm.samples and latest < config.train.steps and (middle or config.rollout.ahead)
    target = released(state.arrays)
    if expected:
        target = target | {IN_FLIGHT: _arrays(_blank(config, rewards, algorithm.critic(config) is not None))}
    arrays, host, step = checkpoints.restore(target)
    found = replace(
        state, arrays=arrays, step=step, pixels=host["pixels"], num_tokens=host["num_tokens"],
        cpu_seconds=host["cpu_seconds"],
        unevaluated=from_json(host[UNEVALUATED]) if UNEVALUATED in host else None,
    )  # fmt: skip
    if expected:
        stored, rest = found.arrays.pop(IN_FLIGHT), host[IN_FLIGHT]
        sums = {name: tuple(pair) for name, pair in rest["text_metrics"].items()}
        results = RewardResults(stored["values"], stored["total"], sums, rest["failures"])
        found.in_flight = InFlight(Rollouts(**stored["rollouts"]), results, stored.get("picks"))
    return found


def _arrays(found: InFlight) -> dict[str, Any]:
    rollouts = {name: x for name, x in vars(found.rollouts).items() if x is not None}
    picks = {} if found.picks is None else {"picks": found.picks}
    return {"rollouts": rollouts, "values": found.results.values, "total": found.results.total, **picks}


def _blank(config: ConfigDict, rewards: int, critic: bool) -> InFlight:
    B, G, C = config.train.prompts, completions_per_prompt(config), config.rollout.max_completion_length
    tokens, flags, scores = (np.empty((B, G, C), dtype) for dtype in (np.int32, bool, np.float32))
    entropy = scores if config.loss.top_entropy < 1 else None
    rollouts = Rollouts(
        tokens, flags, scores, scores, np.empty((B, G), bool), entropy, scores if critic else None
    )
    picks = np.empty(B, np.int64) if config.rollout.resample else None
    return InFlight(rollouts, RewardResults(np.empty((rewards, B, G)), np.empty((B, G), np.float32), {}, 0), picks)
