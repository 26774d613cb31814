"""What vision towers share: patches of one image or frame pair per slot, attention inside the slot, equal blocks."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.attention import attend_whole
from rrft_jax.models.dense_attention import attend_in_parts
from rrft_jax.models.layers import Dense
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import VisionSizes
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
