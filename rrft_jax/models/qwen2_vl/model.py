"""Qwen2-VL: its vision tower and its decoder."""

import jax.numpy as jnp

from rrft_jax.models.decoder import decoder, in_sections
from rrft_jax.models.language import Language
from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig
from rrft_jax.models.qwen2_vl.vision import VisionTower
from rrft_jax.models.sharding import PARAM_AXES
from rrft_jax.models.vision_language import VisionLanguage


def Qwen2VL(
    config: Qwen2VLConfig, dtype: str = "float32", remat: str = "none", attention: str = "xla"
) -> VisionLanguage:
    """A Qwen2-VL of these sizes. dtype, remat, attention: see `language.check_settings`."""
    return VisionLanguage(config, _parts, dtype, remat, attention)


def _parts(c: Qwen2VLConfig, dtype: str, remat: str, attention: str) -> tuple[VisionTower, Language]:
    tower = VisionTower(c.vision, jnp.dtype(dtype), remat, attention)
    return tower, decoder(c, in_sections(c.mrope_section), PARAM_AXES, dtype, remat, attention)
