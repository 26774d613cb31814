"""Score answers twice: as the paper's evaluation did (`paper_score`), and as an honest reader would (`strict_score`).

They differ on purpose; a strict score is never compared with a published figure.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rrft_jax.data.example import Example
from rrft_jax.rewards.format import is_lenient, is_strict
from rrft_jax.rewards.symbolic import Verify, settle
from rrft_jax.rewards.values import Reward, Values
from rrft_jax.tasks.task import Task


@dataclass(frozen=True)
class Score:
    """What is known of one answer.

    paper_score, strict_score: in [0, 1]; None where the check gave no result, for the reason in `error`.
    exact: 1.0 where the whole answer is right, else 0.0; below strict_score where that gives partial credit.
    answer: what was read, in one spelling, for votes among several answers; None where nothing was.
    answer_type: the kind of the question, such as "choice" or "non_choice".
    format_strict, format_lenient: whether the two format rules hold.
    """

    paper_score: float | None
    strict_score: float | None
    exact: float | None
    answer: str | None
    answer_type: str
    format_strict: bool
    format_lenient: bool
    error: str | None = None


def score_answers(task: Task, texts: Sequence[str], examples: Sequence[Example], *, verify: Verify) -> list[Score]:
    """One Score per text, answering the example of its place, as `task.scorer` says.

    verify: runs symbolic checks, such as `symbolic.in_pool(pool)`, under the pool's time limit.
    """
    scorer = task.scorer
    strict = _values(scorer.strict, texts, examples, verify)
    exact = _values(scorer.exact, texts, examples, verify) if scorer.exact else _full(strict)
    paper = settle(scorer.paper, texts, examples, verify) if scorer.paper else strict
    return [
        Score(
            paper[i],
            strict[i],
            None if strict[i] is None else exact[i],
            scorer.key(text),
            scorer.answer_type(example),
            is_strict(text),
            is_lenient(text),
            next((values.errors[i] for values in (paper, strict, exact) if i in values.errors), None),
        )
        for i, (text, example) in enumerate(zip(texts, examples, strict=True))
    ]


def _values(reward: Reward, texts: Sequence[str], examples: Sequence[Example], verify: Verify) -> Values:
    if "verify" in inspect.signature(reward).parameters:
        reward = partial(reward, verify=verify)
    values = reward(texts, examples, list(range(len(texts))), 0)
    return Values(values, getattr(values, "errors", None))


def _full(values: Values) -> Values:
    """1.0 where a value is full, else 0.0."""
    return Values((None if value is None else float(value >= 1.0) for value in values), values.errors)
