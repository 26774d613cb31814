"""Function matching (spatial transformation): how many of the wanted changes an answer names, in three gradings.

`functions` gives partial credit, `full` none for a near miss, `penalty` takes something off for it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.functions import Function, read_functions, read_paper, readable
from rrft_jax.answers.tags import extract_answer, published_answer
from rrft_jax.rewards import transforms
from rrft_jax.rewards.symbolic import settle
from rrft_jax.rewards.transforms import FULL_ONLY, PARTIAL, PENALTY, Credits
from rrft_jax.rewards.values import Values, gold_answer, gold_text

if TYPE_CHECKING:
    from rrft_jax.data.example import Example


def functions(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """A value in [0, 1]: 1 for each function that is right, 0.5 with a wrong value or object, 0.25 with both wrong,
    over the number of functions in the answer or the reference, whichever has more.

    Reads the last closed <answer> behind </think>, tolerantly (`answers.functions`), and matches one to one so that the
    credit is the greatest possible. A repeated function counts as a wrong one: five functions of which four
    are repeats earn a fifth.
    """
    return _score(completions, examples, PARTIAL)


def full(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """As `functions`, but only a function that is right altogether earns something."""
    return _score(completions, examples, FULL_ONLY)


def penalty(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """A value in [-0.5, 1]: as `functions`, but a wrong value or object costs 0.25, both 0.5. No answer earns 0."""
    return _score(completions, examples, PENALTY)


def paper(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """The published partial credit, quirks included: the first <answer> anywhere or the whole text, a pattern that a
    space or a double quote escapes, greedy matching (in order of appearance, the original's order being random)."""
    return _paper(completions, examples, PARTIAL)


def full_paper(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """The published reward for full matches, read as `paper` reads."""
    return _paper(completions, examples, FULL_ONLY)


def penalty_paper(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """The published reward with penalties, read and matched as `paper` does."""
    return _paper(completions, examples, PENALTY)


def answered(completion: str) -> list[Function]:
    """The functions of a completion's answer; none where it gives no answer."""
    answer = extract_answer(completion)
    return read_functions(answer.text) if answer else []


def wanted(example: "Example") -> list[Function]:
    """The functions of the reference; ValueError where it holds none, or one that cannot be read."""
    found = read_functions(gold_text(example))
    if not found or readable(found) != found:
        raise ValueError(
            f"example {example.id}: answer {example.answer!r} is no sequence of functions such as "
            "change_size(7, large); correct the record, or choose rewards that fit its task"
        )
    return found


def _score(completions: Sequence[str], examples: "Sequence[Example]", credits: Credits) -> Values:
    def judge(completion: str, example: "Example") -> float:
        return transforms.partial_credit(answered(completion), wanted(example), credits, transforms.best)

    unread = [i for i, text in enumerate(completions) if not readable(answered(text))]
    values = settle(judge, completions, examples)
    return Values(values, values.errors, unread)


def _paper(completions: Sequence[str], examples: "Sequence[Example]", credits: Credits) -> Values:
    def judge(completion: str, example: "Example") -> float:
        answer, gold = published_answer(completion).text, gold_answer(example)
        return transforms.partial_credit(read_paper(answer), read_paper(gold), credits, transforms.in_passes)

    return settle(judge, completions, examples)
