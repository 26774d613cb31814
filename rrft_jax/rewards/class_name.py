"""Classification by name (Visual-RFT): whether an answer names the species or model of the picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.tags import extract_answer, published_answer
from rrft_jax.rewards.symbolic import settle
from rrft_jax.rewards.values import Values, gold_answer, gold_text

if TYPE_CHECKING:
    from rrft_jax.data.example import Example


def class_name(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    share: float = 0.5,
) -> Values:
    """1.0 where one of the two names contains the other and is at least `share` of its length, else 0.0.

    Case, spaces and underscores do not count. The share closes the holes of the published rule, where an empty answer
    and a list of all names are right.
    """

    def decide(text: str, example: "Example") -> float:
        gold, answer = plain(gold_text(example)), extract_answer(text)
        said = plain(answer.text) if answer else ""
        shorter, longer = sorted((gold, said), key=len)
        return float(bool(shorter) and shorter in longer and len(shorter) >= share * len(longer))

    return settle(decide, completions, examples)


def paper(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """The published rule: 1.0 where either contains the other, so also for an empty answer."""

    def decide(text: str, example: "Example") -> float:
        gold, said = (plain(published_answer(each).text) for each in (gold_answer(example), text))
        return float(gold in said or said in gold)

    return settle(decide, completions, examples)


def plain(name: str) -> str:
    """A name in lower case without spaces and underscores."""
    return "".join(name.lower().replace("_", "").split())
