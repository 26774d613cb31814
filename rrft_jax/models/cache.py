"""Keys and values of prompts and completions, and where completions stand: what every family's decoder keeps."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rrft_jax.arrays import HostOrDevice


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Prefix:
    """Keys and values of the prompts, shared by the members of each group.

    k, v: stacked, or one array a layer (`layers_apart`); last_hidden: after the final norm.
    """

    k: Float[HostOrDevice, "L B K P A"] | tuple[Float[Array, "B K P A"], ...]
    v: Float[HostOrDevice, "L B K P A"] | tuple[Float[Array, "B K P A"], ...]
    mask: Bool[HostOrDevice, "B P"]
    next_position: Int[HostOrDevice, " B"]
    last_hidden: Float[HostOrDevice, "B D"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Suffix:
    """Keys and values of the completions so far.

    One array a layer: a token is then written in place, and attention reads the cache where it lies. A layer taken out
    of a stacked cache is a copy, every layer and token.
    """

    k: tuple[Float[Array, "B G K C A"], ...]
    v: tuple[Float[Array, "B G K C A"], ...]
    mask: Bool[HostOrDevice, "B G C"]


def completion_positions(
    prefix_next: Int[HostOrDevice, " B"], group: int, length: int
) -> Int[Array, "B 3 {group} {length}"]:
    """M-RoPE positions of completions: text, so all three components count on from the prompt."""
    steps = prefix_next[:, None, None, None] + jnp.arange(length)
    return jnp.broadcast_to(steps, (prefix_next.shape[0], 3, group, length))
