"""How answers are scored in a benchmark: the scorer of a task, and the parts that several tasks share."""

from collections.abc import Callable
from dataclasses import dataclass

from rrft_jax.answers.choices import choice, choice_reference
from rrft_jax.answers.compare import in_one_spelling
from rrft_jax.answers.tags import extract_answer, published_answer
from rrft_jax.data.example import Example
from rrft_jax.rewards.accuracy import accuracy
from rrft_jax.rewards.symbolic import Check
from rrft_jax.rewards.values import Reward, gold_answer


def paper_same(text: str, example: Example, enhance: bool = False) -> float | Check:
    """The published scorer of counting and structure: 1.0 for equal text, else what math-verify says, also inside the
    tags, where the training reward compares strings. The answer takes the place of the gold one in the check, and a
    letter in other words than itself is wrong ("(B)", "B."). enhance: the published scorer's own option, off in its
    tables: without tags, the reference anywhere in the text is right."""
    gold = gold_answer(example)
    answer = published_answer(text)
    if answer.tagged:
        return 1.0 if answer.text == gold else Check(answer.text, gold)
    return 1.0 if answer.text == gold.strip() or (enhance and gold.strip() in text) else Check(text, gold)


def number_key(text: str) -> str | None:
    """The answer of a completion as one spelling of its number, else its words; None where it gives none."""
    answer = extract_answer(text)
    return in_one_spelling(answer.text) or None if answer else None


def choice_key(text: str) -> str | None:
    """As `number_key`, but a letter that the answer commits to comes first."""
    answer = extract_answer(text)
    return (choice(answer.text) if answer else None) or number_key(text)


def letter_or_not(example: Example) -> str:
    """ "choice" for a question whose answer is the letter of an option, else "non_choice"."""
    return "choice" if choice_reference(str(example.answer)) else "non_choice"


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """strict: a reward in [0, 1] that reads answers as an honest reader would, with partial credit or without. exact: a
    reward that is 1 where the whole answer is right; None: where `strict` is 1. paper: the published score of a text,
    or the check that decides it; None: as `strict`. key: the answer of a text in one spelling, for votes among several;
    None where there is none. answer_type: the kind of a question, by which results are reported separately.
    """

    strict: Reward = accuracy
    exact: Reward | None = None
    paper: Callable[[str, Example], float | Check] | None = None
    key: Callable[[str], str | None] = number_key
    answer_type: Callable[[Example], str] = letter_or_not
