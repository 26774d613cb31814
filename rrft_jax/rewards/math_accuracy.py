"""Tolerant accuracy for measured numbers: full credit within 5 %, none beyond 20 %, a cosine between."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.compare import value_of
from rrft_jax.answers.tags import extract_answer, published_answer
from rrft_jax.rewards.accuracy import judge
from rrft_jax.rewards.symbolic import Check, Verify, settle, verify_here
from rrft_jax.rewards.values import Values, gold_answer, gold_text

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

FULL = 0.05  # relative error up to which the credit is 1
NONE = 0.20  # relative error from which the credit is 0


def math_accuracy(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    verify: Verify = verify_here,
) -> Values:
    """A value in [0, 1] per completion: `accuracy`, with partial credit where both sides are plain numbers.

    A gold 0 asks for exactly 0, since no error is relative to it. nan and inf are no numbers and earn 0.
    Answers that need algebra (a LaTeX fraction) are right or wrong, without partial credit.
    """
    return settle(_judge, completions, examples, verify)


def paper(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    verify: Verify = verify_here,
) -> Values:
    """The published reward, quirks included: gold 0 answered 0 gives 0, and "nan" gives nan."""
    return settle(_paper_judge, completions, examples, verify)


def _judge(completion: str, example: "Example") -> float | Check:
    result = judge(completion, example)
    if result != 0.0:
        return result
    answer = extract_answer(completion)
    gold = value_of(gold_text(example))
    if answer is None or not gold:
        return 0.0
    given = value_of(answer.text)
    return 0.0 if given is None else _credit(float(abs(given - gold)), float(abs(gold)))


def _paper_judge(completion: str, example: "Example") -> float | Check:
    solution = gold_answer(example)
    answer, gold = published_answer(completion), published_answer(solution)
    try:
        given, wanted = float(answer.text), float(gold.text)
    except ValueError:
        credit = float(answer.text == gold.text)
    else:
        # The original divides by a tolerance of zero here, and its handler turns that into 0.
        credit = _credit(abs(given - wanted), abs(wanted)) if wanted else 0.0
    return Check(completion, solution) if credit == 0.0 and not answer.tagged else credit


def _credit(error: float, size: float) -> float:
    """1 below FULL*size, 0 above NONE*size, half a cosine wave between; nan stays nan."""
    if error < FULL * size:
        return 1.0
    if error > NONE * size:
        return 0.0
    return 0.5 * (math.cos(math.pi * (error - FULL * size) / ((NONE - FULL) * size)) + 1)
