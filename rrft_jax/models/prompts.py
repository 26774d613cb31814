"""What the model is given: arrays only, so one compiled program serves every image size within a bucket."""

import dataclasses

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prompts:
    """A padded batch of prompts; image grids have already become masks and positions.

    prompt_id      int32[B]         global index of the example, with its epoch: addresses the random keys
    tokens         int32[B, P]      right-padded
    token_mask     bool[B, P]
    positions      int32[B, 3, P]   M-RoPE (time, height, width)
    next_position  int32[B]         M-RoPE position of the first completion token
    patches        float[B, I, n, 1176]   one slot per image or video frame pair, 2x2-merge order
    patch_mask     bool[B, I, n]
    patch_position int32[B, I, n, 2]      (row, column) of each patch in its image
    """

    prompt_id: jax.Array
    tokens: jax.Array
    token_mask: jax.Array
    positions: jax.Array
    next_position: jax.Array
    patches: jax.Array
    patch_mask: jax.Array
    patch_position: jax.Array
