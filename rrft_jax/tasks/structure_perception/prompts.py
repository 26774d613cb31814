"""Prompt templates and reference texts of the structure task.

GEO_CHOICE_COT, GEO_NUM_COT, GEO3K_COT, GEO_ZS and ANS are the published Reason-RFT strings; FIGURE_LISTING is ours, for
pre-training.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from rrft_jax.data.example import Example
from rrft_jax.tasks import texts

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "GEO_CHOICE_COT": "{Question} Please select the correct answer by writing the letter (A, B, C or D) that "
        "precedes your choice.\nOutput the thinking process in <think> </think> "
        "and final answer (chosen letter) in <answer> </answer> tags.",
        "GEO_NUM_COT": "{Question} Output the thinking process in <think> </think> "
        "and final answer (float number or int number) in <answer> </answer> tags.",
        "GEO3K_COT": "{Question} Output the thinking process in <think> </think> "
        "and final answer (number or choice) in <answer> </answer> tags.",
        "GEO_ZS": "Please answer the question with only numbers (either integer or float, such as 1, 2, 5.2, etc.) or "
        "options (such as A, B, C, or D). If it is an option, please provide your answer as a single letter "
        "(A, B, C, or D). For example, if the answer is A, just respond with A. "
        "Do not include any explanations or additional text. {Question}",
        "ANS": "{Question}",
        "FIGURE_LISTING": "Describe the figure.",
    }
)


def choose_cot(example: Example) -> str:
    """The template of training with reasoning: by whether the answer is one of the letters A to D, as published."""
    return "GEO_CHOICE_COT" if example.answer in ("A", "B", "C", "D") else "GEO_NUM_COT"


format_prompt = partial(texts.format_prompt, TEMPLATES)
