"""The critic's loss, and how much of the returns it explains."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.masked import masked_sum, safe_divide


def value_loss(
    values: Float[HostOrDevice, "B G C"],
    old_values: Float[HostOrDevice, "B G C"],
    returns: Float[HostOrDevice, "B G C"],
    clip: float,
) -> Float[Array, "B G C"]:
    """Half the squared error of every token; with a `clip` that is not 0 the greater one of that and of the value kept
    within `clip` of the old one (PPO's reference code, cliprange_value in TRL and verl)."""
    error = jnp.square(values - returns)
    if not clip:
        return 0.5 * error
    near = old_values + jnp.clip(values - old_values, -clip, clip)
    return 0.5 * jnp.maximum(error, jnp.square(near - returns))


def explained_variance(
    values: Float[HostOrDevice, "B G C"], returns: Float[HostOrDevice, "B G C"], mask: Bool[HostOrDevice, "B G C"]
) -> Float[Array, ""]:
    """1 - Var(returns - values) / Var(returns) over the mask: 1 a perfect critic, 0 a constant one; NaN where the
    returns are all equal."""

    def variance(x: Float[Array, "B G C"]) -> Float[Array, ""]:
        mean = safe_divide(masked_sum(x, mask), mask.sum())
        return safe_divide(masked_sum(jnp.square(x - mean), mask), mask.sum())

    returns = jnp.asarray(returns)
    whole = variance(returns)
    return jnp.where(whole > 0, 1.0 - safe_divide(variance(returns - values), whole), jnp.nan)
