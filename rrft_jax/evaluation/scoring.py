"""Score answers twice: as the paper's evaluation did (`paper_score`), and as an honest reader would (`strict_score`).

They differ on purpose (docstrings below); a strict score never stands beside a published figure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from rrft_jax.answers import functions as sequences
from rrft_jax.answers.choices import choice, choice_reference
from rrft_jax.answers.compare import in_one_spelling
from rrft_jax.answers.tags import extract_answer, published_answer, published_answer_of_a_line
from rrft_jax.data.example import Example
from rrft_jax.evaluation.benchmarks import COUNTING, SPATIAL, STRUCTURE
from rrft_jax.rewards import transforms
from rrft_jax.rewards.accuracy import accuracy
from rrft_jax.rewards.format import is_lenient, is_strict
from rrft_jax.rewards.functions import answered, functions
from rrft_jax.rewards.symbolic import Check, Verify, settle
from rrft_jax.rewards.values import Values, gold_answer


@dataclass(frozen=True)
class Score:
    """What is known of one answer.

    paper_score, strict_score: in [0, 1]; None where the check gave no verdict, for the reason in `error`.
    exact: 1.0 where the whole answer is right, else 0.0; below strict_score where that gives partial credit.
    answer: what was read, in one spelling, for votes among several answers; None where nothing was.
    answer_type: "choice" or "non_choice", for the spatial task the number of functions in the reference.
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


def score(
    task: str, texts: Sequence[str], examples: Sequence[Example], *, verify: Verify, enhance: bool = False
) -> list[Score]:
    """One Score per text, answering the example of its place. ValueError for a task that has no scorer.

    verify: runs symbolic checks, such as `symbolic.in_pool(pool)`, under the pool's time limit.
    enhance: the published scorer's own option, off in its tables, see `paper_same`.

    paper_score: counting and structure by `paper_same`, spatial by `paper_credit`.
    strict_score: the training rewards' reading (the last answer behind </think>) and verdicts: `accuracy`, and for the
    spatial task `functions`, partial credit under the best matching, where repeats cost their share.
    """
    if task not in _TASKS:
        raise ValueError(f"task {task!r} has no scorer; known are {', '.join(_TASKS)}")
    scorer = _TASKS[task]
    reward = partial(_reward, texts=texts, examples=examples)
    exact = reward(partial(accuracy, verify=verify))
    strict = exact if scorer.strict is None else reward(scorer.strict)
    published = partial(paper_same, enhance=True) if enhance and scorer.paper is paper_same else scorer.paper
    paper = settle(published, texts, examples, verify)
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


def paper_same(text: str, example: Example, enhance: bool = False) -> float | Check:
    """The published scorer of counting and structure: 1.0 for equal text, else what math-verify says, also inside the
    tags, where the training reward compares strings. The answer takes the place of the gold one in the check, and a
    letter in other words than itself is wrong ("(B)", "B."). enhance: without tags, the reference anywhere in the text
    is right."""
    gold = gold_answer(example)
    answer = published_answer(text)
    if answer.tagged:
        return 1.0 if answer.text == gold else Check(answer.text, gold)
    return 1.0 if answer.text == gold.strip() or (enhance and gold.strip() in text) else Check(text, gold)


def paper_credit(text: str, example: Example) -> float:
    """The published scorer of the spatial task: partial credit as in the training reward, but repeats cost nothing, and
    an answer that spans lines is not found, so that the functions named in the thought are scored along with it."""
    answer = sequences.read_paper(published_answer_of_a_line(text))
    gold = sequences.read_paper(gold_answer(example))
    return transforms.credit(answer, gold, transforms.PARTIAL, transforms.in_passes, repeats_cost=False)


@dataclass(frozen=True)
class _Scorer:
    paper: Callable[[str, Example], float | Check]
    strict: Callable[..., Values] | None  # None: `accuracy`
    key: Callable[[str], str | None]
    answer_type: Callable[[Example], str]


def _reward(reward: Callable[..., Values], texts: Sequence[str], examples: Sequence[Example]) -> Values:
    return reward(texts, examples, list(range(len(texts))), 0)


def _number_key(text: str) -> str | None:
    answer = extract_answer(text)
    return (answer and in_one_spelling(answer.text)) or None


def _choice_key(text: str) -> str | None:
    answer = extract_answer(text)
    return (answer and choice(answer.text)) or _number_key(text)


def _functions_key(text: str) -> str | None:
    found = set(sequences.readable(answered(text)))
    return ", ".join(sorted(f"{f.name}({f.object}, {f.value})" for f in found)) or None


def _letter_or_not(example: Example) -> str:
    return "choice" if choice_reference(str(example.answer)) else "non_choice"


def _count(example: Example) -> str:
    return str(len(sequences.readable(sequences.read(str(example.answer)))))


_TASKS: Mapping[str, _Scorer] = MappingProxyType(
    {
        COUNTING: _Scorer(paper_same, None, _number_key, _letter_or_not),
        STRUCTURE: _Scorer(paper_same, None, _choice_key, _letter_or_not),
        SPATIAL: _Scorer(paper_credit, functions, _functions_key, _count),
    }
)
