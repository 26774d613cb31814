"""The advantage estimators by name, and what one is: a new one is a function here and a line below, or a user's.

An estimator is a pure function of arrays, (rewards, row_weight, *, inputs, options) -> (advantages, statistics):

rewards     float32[B, G]; not finite means missing
row_weight  float32[B, G]; 0 for a row that only fills the batch
options     fields of config.advantages, numbers, text or tuples, with defaults
advantages  float32[B, G], or [B, G, C] for tokens of their own; finite, 0 where a reward is missing or the row only
            fills the batch
statistics  float32[] by the name of the metric; `group_advantages` adds what it measures and they leave out

Inputs are parameters without a default that it may name (INPUTS); one that names `greedy` has one more completion of
every prompt decoded greedily. An estimator sees the whole batch, before it is split: micro-batches and devices change
nothing. It is compiled. One from outside the package, `config.advantages.estimator=my_estimator.py:mine`, is the same.
"""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

from rrft_jax.losses.advantages import group_advantages
from rrft_jax.losses.baselines import remax, rloo
from rrft_jax.losses.gdpo import gdpo
from rrft_jax.losses.whitening import reinforce_pp, reinforce_pp_baseline

# mask: bool[B, G, C], tokens of each completion. parts: float32[F, B, G], what each reward function gave, NaN where
# nothing. weights: float32[F], theirs. greedy: float32[B], the reward of each prompt's greedy completion.
INPUTS = ("mask", "parts", "weights", "greedy")

ESTIMATORS: Mapping[str, Callable] = MappingProxyType({
    "grpo": group_advantages,
    "rloo": rloo,
    "remax": remax,
    "reinforce_pp": reinforce_pp,
    "reinforce_pp_baseline": reinforce_pp_baseline,
    "gdpo": gdpo,
})  # fmt: skip

# Estimators of which a group of one completion makes sense: they compare with the batch, or with a greedy completion.
OF_ONE = ("remax", "reinforce_pp", "reinforce_pp_baseline")


def inputs(function: Callable) -> tuple[str, ...]:
    """The names of INPUTS that an estimator takes."""
    return tuple(name for name in INPUTS if name in inspect.signature(function).parameters)
