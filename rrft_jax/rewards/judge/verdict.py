"""Whether a completion is the right verdict on a pair: what a judge in training is measured by."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.rewards.judge.parsing import TIE, read_winner
from rrft_jax.rewards.judge.rubric import PAIRWISE, default_rubric
from rrft_jax.rewards.values import Values, gold_answer

if TYPE_CHECKING:
    from rrft_jax.data.example import Example


def judge_verdict(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """1 where the winner that the completion names is the example's answer (A or B), 0.5 for a tie, else 0."""
    del group_ids, step
    rubric = default_rubric(PAIRWISE)
    found = [read_winner(text, rubric, e.problem) for text, e in zip(completions, examples, strict=True)]
    worth = [0.5 if said == TIE else float(said == gold_answer(e)) for said, e in zip(found, examples, strict=True)]
    return Values(worth, unread=[i for i, said in enumerate(found) if said is None])
