"""Prompt templates and reference texts of the counting task.

COUNT_COT, ANS and COUNT_ZS are the published Reason-RFT strings; LISTING is ours, for pre-training.
"""

from collections.abc import Mapping
from types import MappingProxyType

from rrft_jax.data.example import Example
from rrft_jax.tasks.templates import fill

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
    if template not in TEMPLATES:
        raise KeyError(f"prompt template {template!r} is not one of {', '.join(TEMPLATES)}")
    return fill(TEMPLATES[template], problem)


def cot_target(example: Example) -> str:
    """The reference completion that reasons. Raises ValueError for an example without a chain of thought."""
    if example.cot is None:
        raise ValueError(f"example {example.id} has no cot: train it with the direct-answer target instead")
    return f"<think>\n{example.cot}\n</think>\n<answer>\n{example.answer}\n</answer>"


def ans_target(example: Example) -> str:
    """The reference completion that answers directly."""
    return example.answer


def listing_target(example: Example) -> str:
    """The reference completion for the LISTING prompt. Raises ValueError where the source knows no listing."""
    if "listing" not in example.metadata:
        raise ValueError(f"example {example.id} has no listing in its metadata: leave it out of the listing mixture")
    return example.metadata["listing"]
