"""Qwen2-VL: its vision tower and its decoder, put together as `protocol.Model` asks for them."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.cache import Prefix, Suffix
from rrft_jax.models.decoder_layer import DecoderLayer
from rrft_jax.models.features import TOWER, place_features
from rrft_jax.models.language import Language, check_settings, rematerialised
from rrft_jax.models.layers import applied, init_module, init_stack
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig
from rrft_jax.models.qwen2_vl.vision import Merger, PatchEmbed, VisionBlock
from rrft_jax.models.rope import mrope, vision_rope
from rrft_jax.models.sharding import PARAM_AXES
from rrft_jax.parallel.mesh import constrain


@dataclass(frozen=True)
class Qwen2VL:
    """A Qwen2-VL: its sizes, the dtype products run in, what the backward pass recomputes, and what attends; see
    `language.check_settings`."""

    config: Qwen2VLConfig
    dtype: str = "float32"
    remat: str = "none"
    attention: str = "xla"

    def __post_init__(self) -> None:
        check_settings(self.dtype, self.remat, self.attention)

    @property
    def compute_dtype(self) -> jnp.dtype:
        return jnp.dtype(self.dtype)

    @property
    def language(self) -> Language:
        c = self.config
        components = np.repeat(np.arange(3), c.mrope_section)  # the first section turns with time, the last with width
        rope = partial(mrope, components=components, head_dim=c.head_dim, theta=c.rope_theta)
        layer = DecoderLayer(c, self.compute_dtype)
        return Language(c, layer, rope, PARAM_AXES, self.dtype, self.remat, self.attention)

    def init_params(self, key: Key[Array, ""]) -> dict:
        """Random float32 parameters: normal with fan-in scaling, embeddings 0.02, biases 0, scales 1."""
        v = self.config.vision
        keys = jax.random.split(key, 6)
        rope = (1, 4, v.head_dim // 2)
        vision = {
            "patch_embed": init_module(PatchEmbed(v), keys[3], (1, 4, v.patch_dim)),
            "blocks": init_stack(VisionBlock(v), v.depth, keys[4], (1, 4, v.embed_dim), (1, 4), rope, rope),
            "merger": init_module(Merger(v), keys[5], (1, 4, v.embed_dim)),
        }
        return {"language": self.language.init(keys[0], keys[1], keys[2], keys[5]), "vision": vision}

    def encode_images(self, params: dict, prompts: Prompts) -> Float[Array, "B features D"]:
        """Features [B, I * n/4, D] of every image slot, in merge order; of padded patches finite but meaningless
        ones."""
        v, dtype, params = self.config.vision, self.compute_dtype, params["vision"]
        B, I, n, width = prompts.patches.shape
        flat = lambda x: constrain(x.reshape(B * I, *x.shape[2:]), "batch", *[None] * (x.ndim - 2))  # noqa: E731
        mask = flat(prompts.patch_mask)
        cos, sin = vision_rope(flat(prompts.patch_position), v.head_dim, v.rope_theta)

        def body(x: Float[HostOrDevice, "S n E"], block: dict) -> tuple[Float[Array, "S n E"], None]:
            x = applied(VisionBlock(v, dtype, self.attention), block, x, mask, cos, sin)
            return constrain(x, "batch", None, None), None

        with jax.named_scope(TOWER):
            x = applied(PatchEmbed(v, dtype), params["patch_embed"], flat(prompts.patches))
            x, _ = jax.lax.scan(rematerialised(body, self.remat), x, params["blocks"])
            x = applied(Merger(v, dtype), params["merger"], x)
        return constrain(x.reshape(B, -1, v.hidden_size), "batch", None, None)

    def embed_prompts(self, params: dict, prompts: Prompts) -> Float[Array, "B P D"]:
        """Token embeddings, with the visual features in the places of their tokens."""
        x = self.language.embed(params, prompts.tokens)
        if prompts.patches.shape[1] == 0 or prompts.patches.shape[2] == 0:
            return constrain(x, "batch", None, None)
        return place_features(x, self.encode_images(params, prompts), prompts, self.config)

    def prefill(self, params: dict, prompts: Prompts) -> tuple[Float[Array, "B P D"], Prefix]:
        return self.language.prefill(params, prompts, self.embed_prompts(params, prompts))

    def prefix_of(self, params: dict, prompts: Prompts) -> Prefix:
        return self.language.prefix_of(params, prompts, self.embed_prompts(params, prompts))

    def extend(
        self,
        params: dict,
        tokens: Int[HostOrDevice, "B G T"],
        positions: Int[HostOrDevice, "B 3 G T"],
        token_mask: Bool[HostOrDevice, "B G T"],
        prefix: Prefix,
        suffix: Suffix | None = None,
        write_index: Int[HostOrDevice, ""] | int = 0,
    ) -> tuple[Float[Array, "B G T D"], Suffix]:
        return self.language.extend(params, tokens, positions, token_mask, prefix, suffix, write_index)

    def empty_suffix(self, batch: int, group: int, length: int) -> Suffix:
        return self.language.empty_suffix(batch, group, length)

    def for_decoding(self, params: dict, prefix: Prefix) -> tuple[dict, Prefix]:
        return self.language.for_decoding(params, prefix)

    def output_table(self, params: dict) -> Float[HostOrDevice, "V D"]:
        return self.language.output_table(params)
