"""The splash kernel that comes with jax, for groups: blocks that the mask leaves out are neither read nor computed."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask
from jaxtyping import Array, Bool, Float

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.group_mask import GroupMask


@dataclass(frozen=True)
class _Mask(splash_attention_mask.Mask):
    """A GroupMask as the kernel asks for it, block by block while it is built."""

    of: GroupMask

    @property
    def shape(self) -> tuple[int, int]:
        return self.of.shape

    def __getitem__(self, idx: tuple[slice, slice]) -> np.ndarray:
        return self.of[idx]


def splash(
    q: Float[HostOrDevice, "B H N A"],
    k: Float[HostOrDevice, "B K S A"],
    v: Float[HostOrDevice, "B K S A"],
    own: Bool[HostOrDevice, "B N"],
    seen: Bool[HostOrDevice, "B S"],
    mask: GroupMask,
    block: int,
    interpret: bool = False,
) -> Float[Array, "B H N A"]:
    """q: scaled. own, seen: which queries and keys are real. A is a multiple of 128, N and S of `block`."""
    blocks = splash_attention_kernel.BlockSizes(
        block_q=block, block_kv=block, block_q_dkv=block, block_kv_dkv=block, block_q_dq=block, block_kv_dq=block
    )
    kernel = splash_attention_kernel.make_splash_mha(
        splash_attention_mask.MultiHeadMask([_Mask(mask)] * q.shape[1]), block_sizes=blocks, head_shards=1,
        q_seq_shards=1, interpret=interpret,
    )  # fmt: skip
    segments = splash_attention_kernel.SegmentIds(own.astype(jnp.int32), seen.astype(jnp.int32))
    return jax.vmap(kernel)(q, k, v, segments)
