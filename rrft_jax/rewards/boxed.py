"""Answers in \\boxed{} (RIF-RFT, arXiv 2507.05386): overall = 0.9 accuracy + 0.1 format, as weights of two rewards."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers import boxed
from rrft_jax.answers.compare import decide
from rrft_jax.answers.formulas import Undecided
from rrft_jax.rewards.symbolic import Check, Verify, settle, verify_here
from rrft_jax.rewards.values import Values, gold_answer, gold_text

if TYPE_CHECKING:
    from rrft_jax.data.example import Example


def boxed_accuracy(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    verify: Verify = verify_here,
) -> Values:
    """1.0 where the last balanced box behind the thought holds the reference answer (`answers.compare`), else 0.0."""
    return settle(judge, completions, examples, verify)


def judge(completion: str, example: "Example") -> float | Check:
    """The value of one completion, or the symbolic check that would give it; the training and the filter of instances
    read alike."""
    gold, answer = gold_text(example), boxed.last_box(completion)
    return 0.0 if answer is None else _value(decide(answer, gold))


def boxed_accuracy_paper(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    whole_text: bool = False,
    verify: Verify = verify_here,
) -> Values:
    """The published accuracy: the last box anywhere, a draft inside the thought included, graded as mathruler grades.

    whole_text: the variant without chain of thought, which grades the whole completion.
    """

    def published(completion: str, example: "Example") -> float | Check:
        text = boxed.published_text(completion)
        answer = text if whole_text else boxed.published_box(text)
        return _value(boxed.published_grade(answer, gold_answer(example)))

    return settle(published, completions, examples, verify)


def boxed_filter_paper(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    verify: Verify = verify_here,
) -> Values:
    """What the original's instance filter calls right: a thought, right behind it a box, read up to the first brace
    that closes, so that \\boxed{\\frac{1}{2}} is read as \\frac{1."""

    def published(completion: str, example: "Example") -> float | Check:
        answer = boxed.filter_box(completion)
        return 0.0 if answer is None else _value(boxed.published_grade(answer, gold_answer(example)))

    return settle(published, completions, examples, verify)


def answer_line_paper(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    verify: Verify = verify_here,
) -> Values:
    """The published accuracy of the variant with <answer> (r1v; half of it, and half of `format_paper`): the first
    answer that stands within one line, else the whole completion, graded as mathruler grades."""

    def published(completion: str, example: "Example") -> float | Check:
        return _value(boxed.published_grade(boxed.published_line(completion), gold_answer(example)))

    return settle(published, completions, examples, verify)


def boxed_format(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """1.0 for one thought and a balanced box behind it, neither empty, else 0.0."""
    return Values(float(boxed.is_thought_then_box(text)) for text in completions)


def boxed_format_paper(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """The published format: a full match of <think>.*</think>.*\\boxed\\{.*\\}.* without space around the brackets."""
    return Values(float(boxed.published_format(boxed.published_text(text))) for text in completions)


def _value(result: bool | Undecided) -> float | Check:
    return Check(result.gold, result.answer, whole=True) if isinstance(result, Undecided) else float(result)
