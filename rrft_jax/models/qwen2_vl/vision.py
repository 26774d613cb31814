"""The vision tower: patches of one image per slot, full attention inside the slot, 2x2 merge into decoder width."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.attention import attend_whole
from rrft_jax.models.dense_attention import attend_in_parts
from rrft_jax.models.layers import Dense, LayerNorm
from rrft_jax.models.qwen2_vl.config import VisionConfig
from rrft_jax.models.rope import rotate


def quick_gelu(x: Float[HostOrDevice, "*shape"]) -> Float[Array, "*shape"]:
    return x * jax.nn.sigmoid(1.702 * x)


class VisionBlock(nn.Module):
    config: VisionConfig
    dtype: Any = jnp.float32
    attention: str = "xla"  # a name in attention.BACKENDS

    @nn.compact
    def __call__(
        self,
        x: Float[HostOrDevice, "S n E"],
        mask: Shaped[HostOrDevice, "S n"],
        cos: Float[HostOrDevice, "S n half"],
        sin: Float[HostOrDevice, "S n half"],
    ) -> Float[Array, "S n E"]:
        """S slots; half is A/2."""
        c, dtype = self.config, self.dtype
        qkv = Dense(3 * c.embed_dim, dtype=dtype, name="qkv")(LayerNorm(dtype=dtype, name="norm1")(x))
        q, k, v = (y.reshape(*x.shape[:2], c.num_heads, c.head_dim) for y in jnp.split(qkv, 3, axis=-1))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = jnp.swapaxes(k, 1, 2), jnp.swapaxes(v, 1, 2)
        if self.attention == "xla":
            out = attend_in_parts(q[:, None], k[:, None], v[:, None], mask[:, None, None, :])[:, 0]
        else:
            out = attend_whole(self.attention, q, k, v, mask)
        x = x + Dense(c.embed_dim, dtype=dtype, name="proj")(out.reshape(x.shape))
        h = Dense(int(c.embed_dim * c.mlp_ratio), dtype=dtype, name="fc1")(LayerNorm(dtype=dtype, name="norm2")(x))
        return x + Dense(c.embed_dim, dtype=dtype, name="fc2")(quick_gelu(h))


class PatchEmbed(nn.Module):
    """The published 3-D convolution: its kernel and stride are one patch, so it is a linear map of the patch."""

    config: VisionConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, patches: Float[HostOrDevice, "S n pixels"]) -> Float[Array, "S n E"]:
        return Dense(self.config.embed_dim, use_bias=False, dtype=self.dtype, name="proj")(patches)


class Merger(nn.Module):
    """Four neighbouring patches, adjacent in merge order, to one feature of decoder width."""

    config: VisionConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[HostOrDevice, "S n E"]) -> Float[Array, "S merged D"]:
        wide = self.config.embed_dim * self.config.spatial_merge_size**2
        x = LayerNorm(dtype=self.dtype, name="ln_q")(x).reshape(x.shape[0], -1, wide)
        x = jax.nn.gelu(Dense(wide, dtype=self.dtype, name="fc1")(x), approximate=False)
        return Dense(self.config.hidden_size, dtype=self.dtype, name="fc2")(x)
