"""The decoder of a family, from its sizes and from what sets it apart."""

from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from rrft_jax.models.decoder_layer import DecoderLayer
from rrft_jax.models.language import Language
from rrft_jax.models.rope import mrope
from rrft_jax.models.sharding import ParamAxes
from rrft_jax.models.sizes import ModelSizes


def decoder(
    c: ModelSizes, components: Int[np.ndarray, " half"], axes: ParamAxes, dtype: str, remat: str, attention: str,
    qkv_bias: bool = True, qk_norm: bool = False,
) -> Language:  # fmt: skip
    """components: which of (time, height, width) each frequency of M-RoPE turns with; half is A/2. qkv_bias, qk_norm:
    see `DecoderLayer`."""
    rope = partial(mrope, components=components, head_dim=c.head_dim, theta=c.rope_theta)
    layer = DecoderLayer(c, jnp.dtype(dtype), qkv_bias, qk_norm)
    return Language(c, layer, rope, axes, dtype, remat, attention)


def in_sections(section: tuple[int, int, int]) -> Int[np.ndarray, " half"]:
    """The first section turns with time, the second with height, the last with width."""
    return np.repeat(np.arange(3), section)
