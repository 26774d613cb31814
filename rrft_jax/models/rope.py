"""Rotary positions: M-RoPE of the decoder and the two-dimensional one of the vision tower (arXiv 2409.12191)."""

import jax
import jax.numpy as jnp
import numpy as np


def _inverse_frequencies(width: int, theta: float) -> np.ndarray:
    return (1.0 / theta ** (np.arange(0, width, 2, dtype=np.float32) / width)).astype(np.float32)


def mrope(positions: jax.Array, components: np.ndarray, head_dim: int, theta: float):
    """cos, sin float32[B, ..., A/2] of M-RoPE at positions int32[B, 3, ...] (time, height, width).

    components int[A/2]: which of the three each frequency turns with, in sections or interleaved, as the family has it.
    """
    angles = jnp.moveaxis(positions[:, components], 1, -1).astype(jnp.float32) * _inverse_frequencies(head_dim, theta)
    return jnp.cos(angles), jnp.sin(angles)


def vision_rope(position: jax.Array, head_dim: int, theta: float):
    """cos, sin float32[..., A/2]; position int32[..., 2] (row, column): a quarter of the head each."""
    angles = position[..., None].astype(jnp.float32) * _inverse_frequencies(head_dim // 2, theta)
    angles = angles.reshape(*position.shape[:-1], head_dim // 2)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """x float[..., heads, A] rotated by cos, sin float32[..., A/2]; the pair of feature j is (j, j + A/2)."""
    cos, sin = cos[..., None, :], sin[..., None, :]
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)
