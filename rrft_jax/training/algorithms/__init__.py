"""The algorithms by name: a new one is a file here and a line in ALGORITHMS, or a user's own."""

from collections.abc import Mapping
from types import MappingProxyType

from rrft_jax.doors import resolve
from rrft_jax.training.algorithm import Algorithm
from rrft_jax.training.algorithms.grpo import GRPO
from rrft_jax.training.algorithms.ppo import PPO
from rrft_jax.training.algorithms.presets import PRESET_ALGORITHMS
from rrft_jax.training.algorithms.sft import SFT

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {item.name: item for item in (GRPO, SFT, PPO, *PRESET_ALGORITHMS)}
)


def get_algorithm(name: str) -> Algorithm:
    """The algorithm that config.algorithm names: registered, an entry point, a dotted path or a file.

    Raises ValueError (`doors.DoorError`) that lists the near names.
    """
    found = resolve(name, ALGORITHMS, "algorithm", "config.algorithm", "rrft_jax.algorithms")
    if not isinstance(found, Algorithm):
        raise ValueError(
            f"config.algorithm={name} is a {type(found).__name__}; it must be a rrft_jax.training.algorithm.Algorithm"
        )
    return found
