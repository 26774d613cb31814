"""A vision tower and a decoder put together, as `protocol.Model` asks for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.cache import Prefix, Suffix
from rrft_jax.models.features import place_features
from rrft_jax.models.language import Language, check_settings
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.tower import Tower
from rrft_jax.parallel.mesh import constrain

# From a family's sizes, dtype of products, remat and attention (see `language.check_settings`).
Parts = Callable[[Any, str, str, str], tuple[Tower, Language]]


@dataclass(frozen=True)
class VisionLanguage:
    """A model of a family: its sizes, its parts, the dtype products run in, what the backward pass recomputes, and what
    attends; see `language.check_settings`."""

    config: Sizes
    parts: Parts
    dtype: str = "float32"
    remat: str = "none"
    attention: str = "xla"

    def __post_init__(self) -> None:
        check_settings(self.dtype, self.remat, self.attention)

    @property
    def compute_dtype(self) -> jnp.dtype:
        return jnp.dtype(self.dtype)

    @property
    def tower(self) -> Tower:
        return self.parts(self.config, self.dtype, self.remat, self.attention)[0]

    @property
    def language(self) -> Language:
        return self.parts(self.config, self.dtype, self.remat, self.attention)[1]

    def init_params(self, key: Key[Array, ""]) -> dict:
        """Random float32 parameters: normal with fan-in scaling, embeddings 0.02, biases 0, scales 1."""
        keys = jax.random.split(key, 6)
        tower = self.tower.init(keys[3], keys[4], keys[5])
        return {"language": self.language.init(keys[0], keys[1], keys[2], keys[5]), "vision": tower}

    def encode_images(self, params: dict, prompts: Prompts) -> Float[Array, "B features D"]:
        """Features [B, I * n / merged, D] of every image slot, in merge order; of padded patches finite but meaningless
        ones."""
        return self.tower.encode(params["vision"], prompts)[0]

    def embed_prompts(
        self, params: dict, prompts: Prompts
    ) -> tuple[Float[Array, "B P D"], Float[Array, "K B P D"] | None]:
        """Token embeddings, with the visual features in the places of their tokens; and what is added to the hidden
        states behind each of the first K layers, None in families without DeepStack."""
        x = self.language.embed(params, prompts.tokens)
        if prompts.patches.shape[1] == 0 or prompts.patches.shape[2] == 0:
            return constrain(x, "batch", None, None), None
        features, deep = self.tower.encode(params["vision"], prompts)
        x = place_features(x, features, prompts, self.config)
        if not deep:
            return x, None
        nothing = jnp.zeros_like(x)
        return x, jnp.stack([place_features(nothing, one, prompts, self.config) for one in deep])

    def prefill(self, params: dict, prompts: Prompts) -> tuple[Float[Array, "B P D"], Prefix]:
        return self.language.prefill(params, prompts, *self.embed_prompts(params, prompts))

    def prefix_of(self, params: dict, prompts: Prompts) -> Prefix:
        return self.language.prefix_of(params, prompts, *self.embed_prompts(params, prompts))

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
