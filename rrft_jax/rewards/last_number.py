"""Exact match of the last number, as GSM8K is graded (Cobbe et al., arXiv 2110.14168)."""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from rrft_jax.rewards.symbolic import settle
from rrft_jax.rewards.values import Values, gold_answer

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

_NUMBER = re.compile(r"-?\$?\d{1,30}(?:,\d{3}(?!\d)){0,9}(?:\.\d{1,30})?")


def last_number(text: str) -> Fraction | None:
    """The last number of a text, commas and a dollar sign taken out; None without one."""
    found = _NUMBER.findall(text)
    return Fraction(found[-1].replace(",", "").replace("$", "")) if found else None


def last_number_match(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """1.0 where the last number of a completion equals that behind the reference's last "#### ", else 0.0; a reference
    without that mark gives its own last number. A ValueError names a reference without a number."""

    def judge(completion: str, example: "Example") -> float:
        gold = last_number(gold_answer(example).rpartition("#### ")[2])
        if gold is None:
            raise ValueError(f"example {example.id}: answer {example.answer!r} holds no number")
        return float(last_number(completion) == gold)

    return settle(judge, completions, examples)
