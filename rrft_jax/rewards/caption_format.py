"""Caption format: a plan, a description of the pictures, a thought and the answer, each in its tags, in this order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.rewards.format import match_sections, well_formed
from rrft_jax.rewards.values import Values

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

SECTIONS = ("summary", "caption", "think", "answer")


def caption_format(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """1.0 where each of the four sections stands once, in order and not empty, with whitespace around them alone."""
    return Values(float(well_formed(text, SECTIONS)) for text in completions)


def paper(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """The published reward: a full match of the bare pattern, with the quirks of `format.paper`."""
    return Values(float(match_sections(text, SECTIONS) is not None) for text in completions)
