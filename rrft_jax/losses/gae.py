"""Generalised advantage estimation over the tokens of completions (Schulman et al., arXiv 1506.02438)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rrft_jax.arrays import HostOrDevice


def gae(
    rewards: Float[HostOrDevice, "B G C"],
    values: Float[HostOrDevice, "B G C"],
    mask: Bool[HostOrDevice, "B G C"],
    gamma: float = 1.0,
    lam: float = 0.95,
) -> tuple[Float[Array, "B G C"], Float[Array, "B G C"]]:
    """(advantages, returns) of each token, 0 behind the end; equation 16, returns = advantages + values.

    values: of the state that a token is drawn in, V(s_t). The state behind the last token is worth 0. What lies where
    mask is not set, NaN included, reaches nothing.
    """
    rewards, values = jnp.where(mask, rewards, 0.0), jnp.where(mask, values, 0.0)
    after = jnp.concatenate([values[..., 1:], jnp.zeros_like(values[..., :1])], -1)
    delta = rewards + gamma * after - values

    def back(later: jax.Array, here: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = here + gamma * lam * later
        return total, total

    _, advantages = jax.lax.scan(back, jnp.zeros_like(delta[..., 0]), jnp.moveaxis(delta, -1, 0), reverse=True)
    advantages = jnp.where(mask, jnp.moveaxis(advantages, 0, -1), 0.0)
    return advantages, jnp.where(mask, advantages + values, 0.0)
