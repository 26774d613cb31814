"""What the model is given: arrays only, so one compiled program serves every image size within a bucket."""

import dataclasses

import jax
from jaxtyping import Bool, Float, Int

from rrft_jax.arrays import HostOrDevice


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prompts:
    """A padded batch of prompts; image grids have already become masks and positions.

    prompt_id      global index of the example, with its epoch: addresses the random keys
    tokens         right-padded
    positions      M-RoPE (time, height, width)
    next_position  M-RoPE position of the first completion token
    patches        one slot per image or video frame pair, 2x2-merge order
    patch_position (row, column) of each patch in its image
    """

    prompt_id: Int[HostOrDevice, " B"]
    tokens: Int[HostOrDevice, "B P"]
    token_mask: Bool[HostOrDevice, "B P"]
    positions: Int[HostOrDevice, "B 3 P"]
    next_position: Int[HostOrDevice, " B"]
    patches: Float[HostOrDevice, "B I n pixels"]
    patch_mask: Bool[HostOrDevice, "B I n"]
    patch_position: Int[HostOrDevice, "B I n 2"]
