"""Qwen3-VL, dense: its vision tower and its decoder."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from rrft_jax.models.decoder import decoder
from rrft_jax.models.language import Language
from rrft_jax.models.qwen3_vl.config import Qwen3VLConfig
from rrft_jax.models.qwen3_vl.vision import VisionTower
from rrft_jax.models.sharding import PARAM_AXES, ParamAxes
from rrft_jax.models.vision_language import VisionLanguage

AXES: ParamAxes = (*PARAM_AXES, (r"vision/deepstack/\w+/kernel$", ("layers", "embed", None)))


def Qwen3VL(
    config: Qwen3VLConfig, dtype: str = "float32", remat: str = "none", attention: str = "xla"
) -> VisionLanguage:
    """A Qwen3-VL of these sizes. dtype, remat, attention: see `language.check_settings`."""
    return VisionLanguage(config, _parts, dtype, remat, attention)


def _parts(c: Qwen3VLConfig, dtype: str, remat: str, attention: str) -> tuple[VisionTower, Language]:
    tower = VisionTower(c.vision, jnp.dtype(dtype), remat, attention)
    components = interleaved(c.mrope_section)
    return tower, decoder(c, components, AXES, dtype, remat, attention, qkv_bias=False, qk_norm=True)


def interleaved(section: tuple[int, int, int]) -> Int[np.ndarray, " half"]:
    """Time, height, width, time, ... as far as height and width have frequencies; all others turn with time."""
    components = np.zeros(sum(section), np.int64)
    for axis in (1, 2):
        components[axis : 3 * section[axis] : 3] = axis
    return components
