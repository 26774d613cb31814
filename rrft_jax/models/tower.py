"""What vision towers share: patches of one image or frame pair per slot, attention inside the slot, equal blocks."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.attention import attend_whole
from rrft_jax.models.dense_attention import attend_in_parts
from rrft_jax.models.layers import Dense, LayerNorm, init_module, init_stack
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import TowerWork, VisionSizes
from rrft_jax.models.rope import rotate
from rrft_jax.parallel.mesh import constrain

# q float[S, n, H, A], k and v float[S, H, n, A] of all slots to what each query attends to, float[S, n, H, A].
Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@runtime_checkable
class Tower(Protocol):
    """The branch `vision` of a family's parameters."""

    def init(self, patch_key: Key[Array, ""], blocks_key: Key[Array, ""], merger_key: Key[Array, ""]) -> dict:
        """Random float32 parameters."""
        ...

    def encode(
        self, params: dict, prompts: Prompts
    ) -> tuple[Float[Array, "B features D"], tuple[Float[Array, "B features D"], ...]]:
        """Features [B, I * n / merged, D] of every slot in merge order, finite but meaningless for padding; and those
        that are added to the hidden states behind each of the first decoder layers, () in most families."""
        ...


class PatchEmbed(nn.Module):
    """The published 3-D convolution: its kernel and stride are one patch, so it is a linear map of the patch."""

    width: int
    use_bias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, patches: Float[HostOrDevice, "S n pixels"]) -> Float[Array, "S n E"]:
        return Dense(self.width, use_bias=self.use_bias, dtype=self.dtype, name="proj")(patches)


class Merger(nn.Module):
    """Neighbouring patches, adjacent in merge order, to one feature of decoder width.

    merged: how many patches; out: the width; norm: makes the norm, of each patch, or without norm_first of all merged.
    """

    merged: int
    out: int
    norm: Callable[..., nn.Module]
    dtype: Any = jnp.float32
    norm_first: bool = True

    @nn.compact
    def __call__(self, x: Float[HostOrDevice, "S n E"]) -> Float[Array, "S cells D"]:
        wide, norm = x.shape[-1] * self.merged, self.norm(dtype=self.dtype, name="ln_q")
        join = lambda y: y.reshape(x.shape[0], -1, wide)  # noqa: E731
        x = join(norm(x)) if self.norm_first else norm(join(x))
        x = jax.nn.gelu(Dense(wide, dtype=self.dtype, name="fc1")(x), approximate=False)
        return Dense(self.out, dtype=self.dtype, name="fc2")(x)


def attention(
    x: Float[HostOrDevice, "S n E"],
    norm: nn.Module,
    heads: int,
    cos: Float[HostOrDevice, "S n half"],
    sin: Float[HostOrDevice, "S n half"],
    attend: Attend,
    dtype: Any,
) -> Float[Array, "S n E"]:
    """The first half of a block, with its residual: to be called inside the block, whose submodules `qkv` and `proj` it
    makes. half is A/2."""
    E = x.shape[-1]
    qkv = Dense(3 * E, dtype=dtype, name="qkv")(norm(x))
    q, k, v = (y.reshape(*x.shape[:2], heads, E // heads) for y in jnp.split(qkv, 3, axis=-1))
    q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    out = attend(q, jnp.swapaxes(k, 1, 2), jnp.swapaxes(v, 1, 2))
    return x + Dense(E, dtype=dtype, name="proj")(out.reshape(x.shape))


def attend_slot(
    backend: str,
    mask: Shaped[HostOrDevice, "S n"],
    q: Float[HostOrDevice, "S n H A"],
    k: Float[HostOrDevice, "S H n A"],
    v: Float[HostOrDevice, "S H n A"],
) -> Float[Array, "S n H A"]:
    """Every patch sees every real patch of its slot. backend: a name in attention.BACKENDS."""
    if backend == "xla":
        return attend_in_parts(q[:, None], k[:, None], v[:, None], mask[:, None, None, :])[:, 0]
    return attend_whole(backend, q, k, v, mask)


class LayerNormBlock(nn.Module):
    """A block with LayerNorm, an MLP of two layers and attention to the whole slot."""

    config: VisionSizes
    act: Callable[[jax.Array], jax.Array]  # of the MLP
    dtype: Any = jnp.float32
    backend: str = "xla"  # a name in attention.BACKENDS

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
        norm, attend = LayerNorm(dtype=dtype, name="norm1"), partial(attend_slot, self.backend, mask)
        x = attention(x, norm, c.num_heads, cos, sin, attend, dtype)
        h = Dense(c.intermediate_size, dtype=dtype, name="fc1")(LayerNorm(dtype=dtype, name="norm2")(x))
        return x + Dense(c.embed_dim, dtype=dtype, name="fc2")(self.act(h))


def init_tower(
    v: VisionSizes,
    block: nn.Module,
    merger: nn.Module,
    patch_key: Key[Array, ""],
    blocks_key: Key[Array, ""],
    merger_key: Key[Array, ""],
    patch_bias: bool = False,
) -> dict:
    """Random float32 parameters of what every tower has: patch embedding, blocks and merger."""
    rope = (1, 4, v.embed_dim // v.num_heads // 2)
    return {
        "patch_embed": init_module(PatchEmbed(v.embed_dim, use_bias=patch_bias), patch_key, (1, 4, v.patch_dim)),
        "blocks": init_stack(block, v.depth, blocks_key, (1, 4, v.embed_dim), (1, 4), rope, rope),
        "merger": init_module(merger, merger_key, (1, v.spatial_merge_size**2, v.embed_dim)),
    }


def flat_slots(x: Shaped[HostOrDevice, "B I ..."]) -> Shaped[HostOrDevice, "slots ..."]:
    """The slots of all prompts one after another, split over the mesh as prompts are."""
    return constrain(x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), "batch", *[None] * (x.ndim - 2))


def of_prompts(features: Float[HostOrDevice, "slots merged D"], batch: int) -> Float[Array, "B features D"]:
    """Features of slots as those of prompts."""
    return constrain(features.reshape(batch, -1, features.shape[-1]), "batch", None, None)


def patch_shape(vision: VisionSizes) -> tuple[int, ...]:
    """Shape in the file of the kernel of `PatchEmbed`."""
    pixels = vision.temporal_patch_size * vision.patch_size**2
    sides = (vision.temporal_patch_size, vision.patch_size, vision.patch_size)
    return (vision.embed_dim, vision.patch_dim // pixels, *sides)


def count_work(vision: VisionSizes, out: int, keys: int, mlp: int = 2, mergers: int = 1) -> TowerWork:
    """Of a patch embedding, equal blocks with `mlp` kernels in the MLP, and mergers to features of width `out`."""
    E, wide = vision.embed_dim, vision.embed_dim * vision.spatial_merge_size**2
    block = 4 * E * E + mlp * E * vision.intermediate_size
    return TowerWork(vision.patch_dim * E, vision.depth * block, mergers * wide * (wide + out), keys)
