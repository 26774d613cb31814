"""Caches of completions that grow with them, so that attention reads what is there and not what may come."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.cache import Suffix
from rrft_jax.parallel.mesh import constrain


def bounds(length: int, parts: int) -> tuple[int, ...]:
    """Lengths of the cache one after the other, the last of them `length`; equal steps up to rounding.

    Raises ValueError for less than one part, or more parts than tokens.
    """
    if not 1 <= parts <= length:
        raise ValueError(f"cache_parts={parts}: give 1 to {length}, as many as a completion has tokens at most")
    return tuple(-(-length * part // parts) for part in range(1, parts + 1))


def grown(suffix: Suffix, length: int) -> Suffix:
    """The cache with room for `length` tokens."""
    more = length - suffix.mask.shape[-1]
    if not more:
        return suffix

    def longer(x: Float[HostOrDevice, "B G K C A"]) -> Float[Array, "B G K longer A"]:
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, more), (0, 0)))
        return constrain(x, "batch", None, "kv_heads", None, None)

    mask = constrain(jnp.pad(suffix.mask, ((0, 0), (0, 0), (0, more))), "batch", None, None)
    return Suffix(tuple(map(longer, suffix.k)), tuple(map(longer, suffix.v)), mask)
