"""From replies to numbers: a reward per response, and which of two responses is better whatever their order."""

from collections.abc import Sequence

from rrft_jax.rewards.judge.conversation import Ask, pairwise, pointwise
from rrft_jax.rewards.judge.reading import read_score, read_winner
from rrft_jax.rewards.judge.rubric import HIGHEST
from rrft_jax.rewards.values import Values

Item = tuple[str, str, str]  # instruction, response, reference answer (empty: none)


def grade(ask: Ask, items: Sequence[Item], demonstrations: int = 6) -> Values:
    """score / 10 in [0, 1] of each item. A reply that cannot be read gives 0 and counts as unread; where none came
    there is no value, with the reason."""
    replies = ask([pointwise(*item, demonstrations) for item in items])
    values, errors, unread = [], {}, []
    for i, (reply, why) in enumerate(replies):
        score = None if reply is None else read_score(reply)
        if reply is None:
            errors[i] = why
        elif score is None:
            unread.append(i)
        values.append(None if reply is None else (score or 0.0) / HIGHEST)
    return Values(values, errors, unread)


def compare(ask: Ask, pairs: Sequence[tuple[str, str, str]], demonstrations: int = 6) -> list[float]:
    """Of each (instruction, first, second): 1.0 where the judge prefers the first in both orders, 0.0 where it prefers
    the second in both, else 0.5; a reply that is missing or cannot be read prefers neither."""
    conversations = [pairwise(i, a, b, demonstrations) for i, a, b in pairs]
    conversations += [pairwise(i, b, a, demonstrations) for i, a, b in pairs]
    found = [None if reply is None else read_winner(reply) for reply, _ in ask(conversations)]
    straight, turned = found[: len(pairs)], found[len(pairs) :]
    return [_agreed(a, b) for a, b in zip(straight, turned, strict=True)]


def _agreed(straight: float | None, turned: float | None) -> float:
    if straight is None or turned is None or straight == 0.5 or straight == turned:
        return 0.5
    return straight
