"""Prompt templates and reference texts of the spatial task.

SPATIAL_COT is the published general template; the other compact ones are for the synthetic twin, the TRANCE ones for
the real data set.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from rrft_jax.tasks import texts
from rrft_jax.tasks.spatial_transformation import trance_prompts

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "SPATIAL_COT": "{Question} Output the thinking process in <think> </think> "
        "and final answer in <answer> </answer> tags.",
        "SPATIAL_ANS": "{Question}",
        "SPATIAL_ZS": "Please answer only with functions. "
        "For example, change_size(3, large), change_position(0, front_left). {Question}",
        "SPATIAL_LISTING": "List the objects of the final picture.",
        "TRANCE_COT": trance_prompts.COT,
        "TRANCE_ANS": trance_prompts.ANS,
        "TRANCE_ZS": trance_prompts.ZS,
        "TRANCE_CAPTION": trance_prompts.CAPTION,
        "TRANCE_CAPTION_EVAL": trance_prompts.CAPTION_EVAL,
    }
)

format_prompt = partial(texts.format_prompt, TEMPLATES)
