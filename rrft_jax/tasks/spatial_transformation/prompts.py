"""Prompt templates and reference texts of the spatial task.

SPATIAL_COT is the published general template; the other compact ones are for the synthetic twin, the TRANCE ones for
the real data set.
"""

from collections.abc import Mapping
from types import MappingProxyType

from rrft_jax.tasks.spatial_transformation import trance_prompts
from rrft_jax.tasks.texts import SLOT as SLOT
from rrft_jax.tasks.texts import ans_target as ans_target
from rrft_jax.tasks.texts import cot_target as cot_target
from rrft_jax.tasks.texts import fill
from rrft_jax.tasks.texts import listing_target as listing_target

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


def format_prompt(template: str, problem: str) -> str:
    """The user's text for a bare question. Raises KeyError naming the known templates for an unknown one."""
    return fill(TEMPLATES, template, problem)
