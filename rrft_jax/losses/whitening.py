"""Advantages whitened over all tokens of the batch: REINFORCE++ and its variant with the group's mean."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.advantages import center

EPSILON = 1e-8  # verl's masked_whiten


def whiten(x: Float[HostOrDevice, "B G #C"], weight: Shaped[HostOrDevice, "B G #C"]) -> Float[Array, "B G #C"]:
    """(x - mean) / sqrt(variance + 1e-8) over what weighs, variance / (n - 1), as verl's `masked_whiten`.

    weight: how many tokens an entry stands for; 0 leaves it out, and it becomes 0. Equal entries become 0 exactly.
    """
    seen = jnp.asarray(weight) > 0
    n = jnp.sum(weight)
    mean = jnp.where(seen, x * weight, 0.0).sum() / jnp.maximum(n, 1)
    spread = jnp.where(seen, x, -jnp.inf).max() > jnp.where(seen, x, jnp.inf).min()
    centered = jnp.where(seen & spread, x - mean, 0.0)
    variance = (weight * jnp.square(centered)).sum() / jnp.maximum(n - 1, 1)
    return centered / jnp.sqrt(variance + EPSILON)


def reinforce_pp(
    rewards: Shaped[HostOrDevice, "B G"],
    row_weight: Shaped[HostOrDevice, "B G"],
    mask: Bool[HostOrDevice, "B G C"],
    *,
    gamma: float = 1.0,
) -> tuple[Float[Array, "B G"] | Float[Array, "B G C"], dict[str, Float[Array, ""]]]:
    """The discounted return of each token, whitened over the tokens of the batch (REINFORCE++, arXiv 2501.03262).

    The reward is earned by the last token, so token t of n has the return gamma^(n - 1 - t) r. gamma=1 gives every
    token of a completion the same advantage, [B, G]; else they are [B, G, C].
    """
    rewards = jnp.asarray(rewards, jnp.float32)
    valid = jnp.isfinite(rewards) & (row_weight > 0)
    rewards, tokens = jnp.where(valid, rewards, 0.0), mask.sum(-1)
    if gamma == 1:
        return whiten(rewards[..., None], jnp.where(valid, tokens, 0)[..., None])[..., 0], {}
    left = jnp.maximum(tokens[..., None] - 1 - jnp.arange(mask.shape[-1]), 0)
    return whiten(rewards[..., None] * gamma**left, mask & valid[..., None]), {}


def reinforce_pp_baseline(
    rewards: Shaped[HostOrDevice, "B G"],
    row_weight: Shaped[HostOrDevice, "B G"],
    mask: Bool[HostOrDevice, "B G C"],
) -> tuple[Float[Array, "B G"], dict[str, Float[Array, ""]]]:
    """r minus the mean of its group, whitened over the tokens of the batch (REINFORCE++-baseline, arXiv 2501.03262).

    As in verl, the mean of a group of one is 0.
    """
    rewards = jnp.asarray(rewards, jnp.float32)
    valid = jnp.isfinite(rewards) & (row_weight > 0)
    centered = center(rewards, valid, 1, axis=-1)[0] if rewards.shape[-1] > 1 else jnp.where(valid, rewards, 0.0)
    return whiten(centered[..., None], jnp.where(valid, mask.sum(-1), 0)[..., None])[..., 0], {}
