"""The vision tower of Qwen2.5-VL: RMSNorm, SwiGLU, attention inside windows and in some blocks to the whole picture
(arXiv 2502.13923, section 2.1.1)."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.features import TOWER
from rrft_jax.models.language import rematerialised
from rrft_jax.models.layers import Dense, RMSNorm, applied
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_5_vl.config import VisionConfig
from rrft_jax.models.qwen2_5_vl.windows import PADDING, attend_windows, back, in_order, windows_of
from rrft_jax.models.rope import vision_rope
from rrft_jax.models.tower import Merger, PatchEmbed, attend_slot, attention, flat_slots, init_tower, of_prompts
from rrft_jax.parallel.mesh import constrain

EPS = 1e-6  # of every norm of the tower, whatever config.json says of the decoder's


class VisionBlock(nn.Module):
    config: VisionConfig
    dtype: Any = jnp.float32
    attention: str = "xla"  # a name in attention.BACKENDS, for attention to the whole picture

    @nn.compact
    def __call__(
        self,
        x: Float[HostOrDevice, "S n E"],
        mask: Shaped[HostOrDevice, "S n"],
        cos: Float[HostOrDevice, "S n half"],
        sin: Float[HostOrDevice, "S n half"],
        window: Int[HostOrDevice, "S n"] | None = None,
        full: Bool[HostOrDevice, ""] | bool = True,
    ) -> Float[Array, "S n E"]:
        """S slots, their patches in the order of windows; window: the number of each patch's; full: whether this block
        attends to the whole picture; half is A/2."""
        c, dtype = self.config, self.dtype
        whole = partial(attend_slot, self.attention, mask)

        def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
            if window is None:
                return whole(q, k, v)
            return jax.lax.cond(full, whole, partial(attend_windows, window, c.window_side**2), q, k, v)

        x = attention(x, RMSNorm(EPS, dtype, name="norm1"), c.num_heads, cos, sin, attend, dtype)
        h = RMSNorm(EPS, dtype, name="norm2")(x)
        gate, up = (Dense(c.intermediate_size, dtype=dtype, name=name)(h) for name in ("gate", "up"))
        return x + Dense(c.embed_dim, dtype=dtype, name="down")(jax.nn.silu(gate) * up)


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
        return Merger(v.spatial_merge_size**2, v.out_hidden_size, partial(RMSNorm, EPS), self.dtype)

    def init(self, patch_key: Key[Array, ""], blocks_key: Key[Array, ""], merger_key: Key[Array, ""]) -> dict:
        return init_tower(self.config, VisionBlock(self.config), self.merger, patch_key, blocks_key, merger_key)

    def encode(self, params: dict, prompts: Prompts) -> tuple[Float[Array, "B features D"], tuple[()]]:
        v, dtype = self.config, self.dtype
        mask, position = flat_slots(prompts.patch_mask), flat_slots(prompts.patch_position)
        order, window = windows_of(position, mask, v.window_side, v.spatial_merge_size**2)
        mask, cos_sin = window != PADDING, vision_rope(in_order(position, order), v.head_dim, v.rope_theta)
        full = np.isin(np.arange(v.depth), v.full_blocks)

        def body(x: Float[HostOrDevice, "S n E"], layer: tuple) -> tuple[Float[Array, "S n E"], None]:
            block, is_full = layer
            x = applied(VisionBlock(v, dtype, self.attention), block, x, mask, *cos_sin, window, is_full)
            return constrain(x, "batch", None, None), None

        with jax.named_scope(TOWER):
            # Sorted before anything has a gradient, which would be scattered.
            patches = in_order(flat_slots(prompts.patches), order)
            x = applied(PatchEmbed(v.embed_dim, dtype=dtype), params["patch_embed"], patches)
            x, _ = jax.lax.scan(rematerialised(body, self.remat), x, (params["blocks"], full))
            x = back(applied(self.merger, params["merger"], x), order)
        return of_prompts(x, len(prompts.tokens)), ()
