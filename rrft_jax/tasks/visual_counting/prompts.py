"""Prompt templates and reference texts of the counting task.

COUNT_COT, ANS and COUNT_ZS are the published Reason-RFT strings; LISTING is ours, for pre-training.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from rrft_jax.tasks import texts

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

format_prompt = partial(texts.format_prompt, TEMPLATES)
