"""Keys and values of prompts and completions, and where completions stand: what every family's decoder keeps."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Prefix:
    """Keys and values of the prompts, shared by the members of each group.

    k, v float[L, B, K, P, A], or L arrays of float[B, K, P, A] (`layers_apart`); mask bool[B, P];
    next_position int32[B]; last_hidden float[B, D], after the final norm.
    """

    k: jax.Array | tuple[jax.Array, ...]
    v: jax.Array | tuple[jax.Array, ...]
    mask: jax.Array
    next_position: jax.Array
    last_hidden: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Suffix:
    """Keys and values of the completions so far: k, v L times float[B, G, K, C, A]; mask bool[B, G, C].

    One array a layer: a token is then written in place, and attention reads the cache where it lies. A layer taken out
    of a stacked cache is a copy, every layer and token.
    """

    k: tuple[jax.Array, ...]
    v: tuple[jax.Array, ...]
    mask: jax.Array


def completion_positions(prefix_next: jax.Array, group: int, length: int) -> jax.Array:
    """M-RoPE positions int32[B, 3, G, C] of completions: text, so all three components count on from the prompt."""
    steps = prefix_next[:, None, None, None] + jnp.arange(length)
    return jnp.broadcast_to(steps, (prefix_next.shape[0], 3, group, length))
