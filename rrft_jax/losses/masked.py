"""Reductions that never look at padding, whatever padding holds (NaN and infinity included)."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Shaped

from rrft_jax.arrays import HostOrDevice


def masked_sum(
    x: Shaped[HostOrDevice, "*#shape"], mask: Bool[HostOrDevice, "*#shape"], axis: int | None = None
) -> Float[Array, "..."]:
    """Sum of x where mask is set; NaN elsewhere reaches neither value nor gradient."""
    return jnp.where(mask, x, 0.0).sum(axis)


def safe_divide(x: Shaped[ArrayLike, "*#shape"], y: Shaped[ArrayLike, "*#shape"]) -> Float[Array, "..."]:
    """x / y, and 0 (with gradient 0) where y is 0."""
    nonzero = y != 0
    return jnp.where(nonzero, x / jnp.where(nonzero, y, 1.0), 0.0)
