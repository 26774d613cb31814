"""Rotary positions: M-RoPE of the decoder and the two-dimensional one of the vision tower (arXiv 2409.12191)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rrft_jax.arrays import HostOrDevice


def _inverse_frequencies(width: int, theta: float) -> np.ndarray:
    return (1.0 / theta ** (np.arange(0, width, 2, dtype=np.float32) / width)).astype(np.float32)


def mrope(
    positions: Int[HostOrDevice, "B 3 *steps"], components: Int[np.ndarray, " half"], head_dim: int, theta: float
) -> tuple[Float[Array, "B *steps half"], Float[Array, "B *steps half"]]:
    """cos and sin of M-RoPE at positions (time, height, width); half is A/2.

    components: which of the three each frequency turns with, in sections or interleaved, as the family has it.
    """
    angles = jnp.moveaxis(positions[:, components], 1, -1).astype(jnp.float32) * _inverse_frequencies(head_dim, theta)
    return jnp.cos(angles), jnp.sin(angles)


def vision_rope(
    position: Int[HostOrDevice, "*patches 2"], head_dim: int, theta: float
) -> tuple[Float[Array, "*patches half"], Float[Array, "*patches half"]]:
    """cos and sin; position: (row, column), a quarter of the head each."""
    angles = position[..., None].astype(jnp.float32) * _inverse_frequencies(head_dim // 2, theta)
    angles = angles.reshape(*position.shape[:-1], head_dim // 2)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(
    x: Float[HostOrDevice, "*rows heads A"],
    cos: Float[HostOrDevice, "*rows half"],
    sin: Float[HostOrDevice, "*rows half"],
) -> Float[Array, "*rows heads A"]:
    """x rotated by cos and sin, half is A/2; the pair of feature j is (j, j + A/2)."""
    cos, sin = cos[..., None, :], sin[..., None, :]
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)
