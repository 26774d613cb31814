"""Reasoning steps: a third of a point for every visible step, at most 1."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.rewards.values import Values

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

STEPS_FOR_FULL = 3
_WORDS = r"Step \d+:|First,|Second,|Next,|Finally,"
# A list mark takes the word behind it along: "1. Next, ..." is one step.
_STEP = re.compile(rf"^[ \t]*(?:\d+\.|[-*])(?=\s)[ \t]*(?:{_WORDS})?|{_WORDS}", re.MULTILINE)
_PAPER_STEP = re.compile(rf"{_WORDS}|^\d+\.|\n-|\n\*")


def reasoning_steps(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """min(1, steps / 3), a step being "Step 1:", a word such as "First," or a numbered or bulleted line.

    A list mark counts at the start of any line and only before a space: a line that opens with 3.5 or -2 is none.
    """
    return Values(min(1.0, len(_STEP.findall(text)) / STEPS_FOR_FULL) for text in completions)


def paper(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """The published reward: a numbered item counts at the very start of the completion only."""
    return Values(min(1.0, len(_PAPER_STEP.findall(text)) / STEPS_FOR_FULL) for text in completions)
