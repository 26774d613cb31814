"""Advantages that subtract a baseline and divide by nothing: of the other members, or of a greedy completion."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.advantages import center
from rrft_jax.losses.masked import safe_divide


def rloo(
    rewards: Shaped[HostOrDevice, "B G"], row_weight: Shaped[HostOrDevice, "B G"]
) -> tuple[Float[Array, "B G"], dict[str, Float[Array, ""]]]:
    """r_i minus the mean of the other members (Kool et al. 2019; Ahmadian et al., arXiv 2402.14740, equation 8).

    It equals (r_i - mean) n / (n - 1) over the n members with a reward; a member that is alone gets 0.
    """
    rewards = jnp.asarray(rewards, jnp.float32)
    valid = jnp.isfinite(rewards) & (row_weight > 0)
    centered, _ = center(rewards, valid, 1, axis=-1)
    count = valid.sum(-1, keepdims=True)
    return safe_divide(centered * count, count - 1), {}


def remax(
    rewards: Shaped[HostOrDevice, "B G"], row_weight: Shaped[HostOrDevice, "B G"], greedy: Shaped[HostOrDevice, " B"]
) -> tuple[Float[Array, "B G"], dict[str, Float[Array, ""]]]:
    """r_i minus the reward of the greedy completion of the same prompt (ReMax, arXiv 2310.10505, equation 6).

    A prompt whose greedy completion has no reward gets 0. Statistics: reward_greedy, its mean.
    """
    rewards, greedy = jnp.asarray(rewards, jnp.float32), jnp.asarray(greedy, jnp.float32)[:, None]
    real = row_weight > 0
    valid = jnp.isfinite(rewards) & jnp.isfinite(greedy) & real
    measured = jnp.isfinite(greedy) & real.any(-1, keepdims=True)
    mean = jnp.where(measured, greedy, 0.0).sum() / measured.sum()
    return jnp.where(valid, rewards - greedy, 0.0), {"reward_greedy": mean}
