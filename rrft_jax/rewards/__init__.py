"""Verifiable rewards: pure host functions on text, a default and the published (`paper`) form side by side."""

from rrft_jax.rewards.combine import Failure, RewardScores, RewardSet, Weighted, reward_set
from rrft_jax.rewards.pool import Pool
from rrft_jax.rewards.registry import get
from rrft_jax.rewards.trl_adapter import from_trl
from rrft_jax.rewards.values import Outcome, Reward, Values

__all__ = [
    "Failure",
    "Outcome",
    "Pool",
    "Reward",
    "RewardSet",
    "RewardScores",
    "Values",
    "Weighted",
    "from_trl",
    "get",
    "reward_set",
]
