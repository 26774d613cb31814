"""The vision tower of Qwen3-VL: learned positions next to rotary ones, full attention inside the slot, and features of
some blocks for the first decoder layers (DeepStack, arXiv 2406.04334)."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Key, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.features import TOWER
from rrft_jax.models.language import rematerialised
from rrft_jax.models.layers import Dense, LayerNorm, applied, init_module, init_stack
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen3_vl.config import VisionConfig
from rrft_jax.models.qwen3_vl.interpolation import interpolated, taps
from rrft_jax.models.rope import vision_rope
from rrft_jax.models.tower import Merger, PatchEmbed, attend_slot, attention, flat_slots, of_prompts
from rrft_jax.parallel.mesh import constrain


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
        return x + Dense(c.embed_dim, dtype=dtype, name="fc2")(jax.nn.gelu(h, approximate=True))


@dataclass(frozen=True)
class VisionTower:
    """`tower.Tower`; dtype, remat, attention: see `language.check_settings`."""

    config: VisionConfig
    dtype: jnp.dtype
    remat: str
    attention: str

    def merger(self, norm_first: bool) -> Merger:
        v = self.config
        return Merger(v.spatial_merge_size**2, v.out_hidden_size, LayerNorm, self.dtype, norm_first)

    def init(self, patch_key: Key[Array, ""], blocks_key: Key[Array, ""], merger_key: Key[Array, ""]) -> dict:
        v = self.config
        rope, wide = (1, 4, v.head_dim // 2), (1, v.spatial_merge_size**2, v.embed_dim)
        table_key, deep_key = jax.random.split(jax.random.fold_in(merger_key, 1))
        params = {
            "patch_embed": init_module(PatchEmbed(v.embed_dim, use_bias=True), patch_key, (1, 4, v.patch_dim)),
            "positions": {"embedding": 0.02 * jax.random.normal(table_key, (v.position_rows**2, v.embed_dim))},
            "blocks": init_stack(VisionBlock(v), v.depth, blocks_key, (1, 4, v.embed_dim), (1, 4), rope, rope),
            "merger": init_module(self.merger(norm_first=True), merger_key, wide),
        }
        if v.deepstack:
            params["deepstack"] = init_stack(self.merger(norm_first=False), len(v.deepstack), deep_key, wide)
        return params

    def encode(
        self, params: dict, prompts: Prompts
    ) -> tuple[Float[Array, "B features D"], tuple[Float[Array, "B features D"], ...]]:
        v, dtype, count = self.config, self.dtype, len(self.config.deepstack)
        mask, position = flat_slots(prompts.patch_mask), flat_slots(prompts.patch_position)
        cos, sin = vision_rope(position, v.head_dim, v.rope_theta)
        # Where the result of a block is kept: one place for each of `deepstack`, the last for those that nobody wants.
        place = np.full(v.depth, count)
        place[list(v.deepstack)] = np.arange(count)
        act = lambda x: constrain(x, *[None] * (x.ndim - 3), "batch", None, None)  # noqa: E731

        def body(carry: tuple, layer: tuple) -> tuple[tuple, None]:
            (x, kept), (block, at) = carry, layer
            x = act(applied(VisionBlock(v, dtype, self.attention), block, x, mask, cos, sin))
            return (x, act(jax.lax.dynamic_update_index_in_dim(kept, x, at, 0))), None

        with jax.named_scope(TOWER):
            embed = PatchEmbed(v.embed_dim, use_bias=True, dtype=dtype)
            x = applied(embed, params["patch_embed"], flat_slots(prompts.patches))
            table = params["positions"]["embedding"]
            x = act(x + interpolated(table, *taps(position, mask, v.position_rows)).astype(dtype))
            kept = act(jnp.zeros((count + 1, *x.shape), x.dtype))
            (x, kept), _ = jax.lax.scan(rematerialised(body, self.remat), (x, kept), (params["blocks"], place))
            features = applied(self.merger(norm_first=True), params["merger"], x)
            deep = [
                applied(
                    self.merger(norm_first=False), jax.tree.map(lambda p, i=i: p[i], params["deepstack"]), kept[i]
                )
                for i in np.argsort(v.deepstack)  # the first decoder layer is given what the first of the blocks made
            ]
        B = len(prompts.tokens)
        return of_prompts(features, B), tuple(of_prompts(one, B) for one in deep)
