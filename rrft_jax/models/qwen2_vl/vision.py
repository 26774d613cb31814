"""The vision tower of Qwen2-VL: full attention inside the slot, 2x2 merge into decoder width."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.features import TOWER
from rrft_jax.models.language import rematerialised
from rrft_jax.models.layers import LayerNorm, applied
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.config import VisionConfig
from rrft_jax.models.rope import vision_rope
from rrft_jax.models.tower import LayerNormBlock, Merger, PatchEmbed, flat_slots, init_tower, of_prompts
from rrft_jax.parallel.mesh import constrain


def quick_gelu(x: Float[HostOrDevice, "*shape"]) -> Float[Array, "*shape"]:
    return x * jax.nn.sigmoid(1.702 * x)


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
        block = LayerNormBlock(self.config, quick_gelu)
        return init_tower(self.config, block, self.merger, patch_key, blocks_key, merger_key)

    def encode(self, params: dict, prompts: Prompts) -> tuple[Float[Array, "B features D"], tuple[()]]:
        v, dtype = self.config, self.dtype
        mask = flat_slots(prompts.patch_mask)
        cos, sin = vision_rope(flat_slots(prompts.patch_position), v.head_dim, v.rope_theta)

        def body(x: Float[HostOrDevice, "S n E"], block: dict) -> tuple[Float[Array, "S n E"], None]:
            x = applied(LayerNormBlock(v, quick_gelu, dtype, self.attention), block, x, mask, cos, sin)
            return constrain(x, "batch", None, None), None

        with jax.named_scope(TOWER):
            patches = flat_slots(prompts.patches)
            x = applied(PatchEmbed(v.embed_dim, dtype=dtype), params["patch_embed"], patches)
            x, _ = jax.lax.scan(rematerialised(body, self.remat), x, params["blocks"])
            x = applied(self.merger, params["merger"], x)
        return of_prompts(x, len(prompts.tokens)), ()
