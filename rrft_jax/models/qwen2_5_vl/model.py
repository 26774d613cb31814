"""Qwen2.5-VL: its vision tower and its decoder."""

import jax.numpy as jnp

from rrft_jax.models.decoder import decoder, in_sections
from rrft_jax.models.language import Language
from rrft_jax.models.qwen2_5_vl.config import Qwen25VLConfig
from rrft_jax.models.qwen2_5_vl.vision import VisionTower
from rrft_jax.models.sharding import PARAM_AXES
from rrft_jax.models.vision_language import VisionLanguage


def Qwen25VL(
    config: Qwen25VLConfig, dtype: str = "float32", remat: str = "none", attention: str = "xla"
) -> VisionLanguage:
    """A Qwen2.5-VL of these sizes. dtype, remat, attention: see `language.check_settings`."""
    return VisionLanguage(config, _parts, dtype, remat, attention)


def _parts(c: Qwen25VLConfig, dtype: str, remat: str, attention: str) -> tuple[VisionTower, Language]:
    tower = VisionTower(c.vision, jnp.dtype(dtype), remat, attention)
    return tower, decoder(c, in_sections(c.mrope_section), PARAM_AXES, dtype, remat, attention)
