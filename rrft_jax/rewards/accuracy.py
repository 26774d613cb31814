"""Accuracy: 1.0 when the answer equals the reference, else 0.0."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.compare import Undecided, decide
from rrft_jax.answers.tags import extract_answer, published_answer
from rrft_jax.rewards.symbolic import Check, Verify, settle, verify_here
from rrft_jax.rewards.values import Values, gold_answer, gold_text

if TYPE_CHECKING:
    from rrft_jax.data.example import Example


def accuracy(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    verify: Verify = verify_here,
) -> Values:
    """1.0 or 0.0 per completion.

    Reads the last closed <answer> behind </think>; without one, what stands behind the thought, so that a direct
    "4" counts, and an unfinished thought never does. An answer is right only if all of it was understood
    (`answers.compare`); only two formulas that exact values do not tell apart go to math-verify, gold first.
    """
    return settle(judge, completions, examples, verify)


def judge(completion: str, example: "Example") -> float | Check:
    """The default value of one completion, or the symbolic check that would give it."""
    gold = gold_text(example)
    answer = extract_answer(completion)
    if answer is None:
        return 0.0
    result = decide(answer.text, gold)
    if isinstance(result, Undecided):
        return Check(result.gold, result.answer, whole=True)
    return float(result)


def paper(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    verify: Verify = verify_here,
) -> Values:
    """The published reward, quirks included: the first <answer> anywhere, compared as an exact string.

    math-verify is asked only where no closed <answer> exists, on the whole texts, with the completion in the
    place of the gold answer. So tagged "4.0" against "4" gives 0 and a bare "4.0" gives 1.
    """
    return settle(paper_judge, completions, examples, verify)


def paper_judge(completion: str, example: "Example") -> float | Check:
    """The published value of one completion, or the symbolic check that would give it."""
    solution = gold_answer(example)
    answer = published_answer(completion)
    if answer.text == published_answer(solution).text:
        return 1.0
    return 0.0 if answer.tagged else Check(completion, solution)
