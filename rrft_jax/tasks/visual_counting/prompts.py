"""Prompt templates and reference texts of the counting task.

COUNT_COT, ANS and COUNT_ZS are the published Reason-RFT strings; LISTING is ours, for pre-training.
"""

from collections.abc import Mapping
from types import MappingProxyType

from rrft_jax.tasks.texts import SLOT as SLOT
from rrft_jax.tasks.texts import ans_target as ans_target
from rrft_jax.tasks.texts import cot_target as cot_target
from rrft_jax.tasks.texts import fill
from rrft_jax.tasks.texts import listing_target as listing_target

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "COUNT_COT": "{Question} Output the thinking process in <think> </think> "
        "and final answer (number) in <answer> </answer> tags.",
        "ANS": "{Question}",
        "COUNT_ZS": "Please answer in Arabic numerals. "
        "For example, if the answer is 3, please respond with 3. {Question}",
        "LISTING": "List the objects.",
    }
)


def format_prompt(template: str, problem: str) -> str:
    """The user's text for a bare question. Raises KeyError naming the known templates for an unknown one."""
    return fill(TEMPLATES, template, problem)
