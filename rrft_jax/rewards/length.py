"""Length: among right answers prefer short ones, and never pay for a short wrong one (Kimi k1.5, section 2.3.3).

With lam = 0.5 - (length - shortest) / (longest - shortest): a right answer earns lam, a wrong one min(0, lam).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.tags import published_answer
from rrft_jax.rewards.accuracy import accuracy
from rrft_jax.rewards.symbolic import Check, Verify, settle, verify_here
from rrft_jax.rewards.values import Values, gold_answer, members

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

PAPER_WARMUP_STEPS = 800
PAPER_SCALE = 0.05


def length(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    count_tokens: Callable[[Sequence[str]], Sequence[int]],
    warmup_steps: int = 0,
    verify: Verify = verify_here,
) -> Values:
    """A value in [-0.5, 0.5] per completion, from lengths in tokens compared within each group.

    count_tokens: the number of tokens of each text, from the tokenizer that trains.
    warmup_steps: 0.0 for everyone while step < warmup_steps. Scale with the weight of the reward.
    A group of equal lengths (or of one) earns 0.0. Right and wrong are what `accuracy` says; where it has no value,
    neither has this reward.
    """
    if step < warmup_steps:
        return Values([0.0] * len(completions))
    right = accuracy(completions, examples, group_ids, step, verify=verify)
    return Values(_shape_groups(list(count_tokens(completions)), right, group_ids), right.errors)


def paper(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    verify: Verify = verify_here,
) -> Values:
    """The published reward: lengths in characters, times 0.05, and 0 before step 800.

    Compared within each group: the original compares whatever its call holds, which was one group, since each of its
    devices held one prompt.
    """
    if step < PAPER_WARMUP_STEPS:
        return Values([0.0] * len(completions))
    right = settle(_paper_right, completions, examples, verify)
    shaped = _shape_groups([len(text) for text in completions], right, group_ids)
    return Values((None if value is None else PAPER_SCALE * value for value in shaped), right.errors)


def _paper_right(completion: str, example: "Example") -> float | Check:
    solution = gold_answer(example)
    answer, gold = published_answer(completion), published_answer(solution)
    if answer.text == gold.text:
        return 1.0
    try:
        if float(answer.text) == float(gold.text):
            return 1.0
    except ValueError:
        pass  # not two numbers: the rules below decide
    return 0.0 if answer.tagged else Check(completion, solution)


def _shape_groups(
    lengths: Sequence[int], right: Sequence[float | None], group_ids: Sequence[int]
) -> list[float | None]:
    values: list[float | None] = [None] * len(lengths)
    for group in members(group_ids):
        shaped = _shape([lengths[i] for i in group], [right[i] for i in group])
        for i, value in zip(group, shaped, strict=True):
            values[i] = value
    return values


def _shape(lengths: Sequence[int], right: Sequence[float | None]) -> list[float | None]:
    shortest, longest = min(lengths), max(lengths)
    if shortest == longest:
        return [None if r is None else 0.0 for r in right]
    lam = [0.5 - (n - shortest) / (longest - shortest) for n in lengths]
    return [None if r is None else (x if r else min(0.0, x)) for x, r in zip(lam, right, strict=True)]
