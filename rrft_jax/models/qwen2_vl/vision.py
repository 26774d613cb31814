"""The vision tower of Qwen2-VL: full attention inside the slot, 2x2 merge into decoder width."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.features import TOWER
from rrft_jax.models.language import rematerialised
from rrft_jax.models.layers import Dense, LayerNorm, applied, init_module, init_stack
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.config import VisionConfig
from rrft_jax.models.rope import vision_rope
from rrft_jax.models.tower import Merger, PatchEmbed, attend_slot, attention, flat_slots, of_prompts
from rrft_jax.parallel.mesh import constrain


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
        norm, attend = LayerNorm(dtype=dtype, name="norm1"), partial(attend_slot, self.attention, mask)
        x = attention(x, norm, c.num_heads, cos, sin, attend, dtype)
        h = Dense(c.intermediate_size, dtype=dtype, name="fc1")(LayerNorm(dtype=dtype, name="norm2")(x))
        return x + Dense(c.embed_dim, dtype=dtype, name="fc2")(quick_gelu(h))


@dataclass(frozen=True)
class VisionTower:
    """`tower.Tower`; dtype, remat, attention: see `language.check_settings`."""

    config: VisionConfig
    dtype: jnp.dtype
    remat: str
    attention: str

    @property
    def merger(self) -> Merger:
        v = self.config
        return Merger(v.spatial_merge_size**2, v.hidden_size, LayerNorm, self.dtype)

    def init(self, patch_key: Key[Array, ""], blocks_key: Key[Array, ""], merger_key: Key[Array, ""]) -> dict:
        v = self.config
        rope = (1, 4, v.head_dim // 2)
        return {
            "patch_embed": init_module(PatchEmbed(v.embed_dim), patch_key, (1, 4, v.patch_dim)),
            "blocks": init_stack(VisionBlock(v), v.depth, blocks_key, (1, 4, v.embed_dim), (1, 4), rope, rope),
            "merger": init_module(self.merger, merger_key, (1, 4, v.embed_dim)),
        }

    def encode(self, params: dict, prompts: Prompts) -> tuple[Float[Array, "B features D"], tuple[()]]:
        v, dtype = self.config, self.dtype
        mask = flat_slots(prompts.patch_mask)
        cos, sin = vision_rope(flat_slots(prompts.patch_position), v.head_dim, v.rope_theta)

        def body(x: Float[HostOrDevice, "S n E"], block: dict) -> tuple[Float[Array, "S n E"], None]:
            x = applied(VisionBlock(v, dtype, self.attention), block, x, mask, cos, sin)
            return constrain(x, "batch", None, None), None

        with jax.named_scope(TOWER):
            patches = flat_slots(prompts.patches)
            x = applied(PatchEmbed(v.embed_dim, dtype=dtype), params["patch_embed"], patches)
            x, _ = jax.lax.scan(rematerialised(body, self.remat), x, params["blocks"])
            x = applied(self.merger, params["merger"], x)
        return of_prompts(x, len(prompts.tokens)), ()
