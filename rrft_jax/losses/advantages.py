"""Advantages within a group, and what every estimator shares: centring that leaves missing rewards out."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.masked import masked_sum, safe_divide

SCALES = ("group", "batch", "none")


def group_advantages(
    rewards: Shaped[HostOrDevice, "B G"] | Sequence,
    scale: str = "group",
    ddof: int = 1,
    epsilon: float = 1e-4,
    row_weight: Shaped[HostOrDevice, "B G"] | Sequence | None = None,
) -> tuple[Float[Array, "B G"], dict[str, Float[Array, ""]]]:
    """(r - mean of the group) / (std + epsilon) (DeepSeekMath, arXiv 2402.03300), and statistics.

    rewards     not finite means missing: left out of every statistic, advantage 0
    scale       group: the group's own std. batch: the std of all rewards. none: no division (Dr. GRPO)
    ddof        1 in Reason-RFT and TRL: std divides by n - ddof
    epsilon     1e-4 in Reason-RFT and TRL, 1e-6 in verl
    row_weight  rows of weight 0 are padding and are left out like missing ones

    A group with fewer than two rewards, or with equal ones, gets 0 exactly. Statistics, NaN if there is nothing to
    measure:
      reward                mean of all rewards
      reward_std            std of all rewards, as in TRL 1.16
      reward_group_std      mean of the groups' stds, which TRL 0.15 and Reason-RFT log as reward_std
      frac_reward_zero_std  share of groups that teach nothing (padding groups are not counted)
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}; got {scale!r}")
    rewards = jnp.asarray(rewards, jnp.float32)
    real = jnp.ones(rewards.shape, bool) if row_weight is None else jnp.asarray(row_weight) > 0
    valid = jnp.isfinite(rewards) & real

    centered, group_std = center(rewards, valid, ddof, axis=-1)  # [B, G], [B, 1]
    _, batch_std = center(rewards, valid, ddof, axis=None)
    advantages = centered
    if scale != "none":
        advantages = safe_divide(centered, (group_std if scale == "group" else batch_std) + epsilon)

    measured = valid.any(-1)
    stats = {
        "reward": mean_of(rewards, valid),
        "reward_std": jnp.where(valid.any(), batch_std.squeeze(), jnp.nan),
        "reward_group_std": mean_of(group_std[:, 0], measured),
        "frac_reward_zero_std": mean_of((group_std[:, 0] == 0).astype(jnp.float32), real.any(-1)),
    }
    return advantages, stats


def center(
    x: Float[HostOrDevice, "B G"], valid: Bool[HostOrDevice, "B G"], ddof: int, axis: int | None
) -> tuple[Float[Array, "B G"], Float[Array, "#B 1"]]:
    """x minus the mean of its valid entries (0 elsewhere), and their std with kept dimensions; 0 if they are equal."""
    count = valid.sum(axis, keepdims=True)
    mean = safe_divide(jnp.where(valid, x, 0.0).sum(axis, keepdims=True), count)
    highest = jnp.where(valid, x, -jnp.inf).max(axis, keepdims=True)
    lowest = jnp.where(valid, x, jnp.inf).min(axis, keepdims=True)
    # Rounding in the mean of equal rewards would otherwise be blown up by 1 / epsilon.
    centered = jnp.where(valid & (highest > lowest), x - mean, 0.0)
    variance = jnp.square(centered).sum(axis, keepdims=True) / jnp.maximum(count - ddof, 1)
    return centered, jnp.sqrt(variance)


def mean_of(x: Float[HostOrDevice, "*shape"], valid: Bool[HostOrDevice, "*shape"]) -> Float[Array, ""]:
    return jnp.where(valid.any(), safe_divide(masked_sum(x, valid), valid.sum()), jnp.nan)
