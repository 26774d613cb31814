"""Match two sequences of functions (`answers.functions`) and grade what they share."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rrft_jax.answers.functions import Function


class Credits(NamedTuple):
    """What a predicted function earns against the one it is matched with: all equal, or name and object, name and
    value, the name alone."""

    full: float
    object: float
    value: float
    name: float


PARTIAL = Credits(1.0, 0.5, 0.5, 0.25)
FULL_ONLY = Credits(1.0, 0.0, 0.0, 0.0)
PENALTY = Credits(1.0, -0.25, -0.25, -0.5)

# (distinct predicted, distinct wanted, credits) -> sum of credits over a one-to-one matching.
Matching = Callable[[Sequence[Function], Sequence[Function], Credits], float]


def partial_credit(
    predicted: Sequence[Function],
    wanted: Sequence[Function],
    credits: Credits,
    matching: Matching,
    repeats_cost: bool = True,
) -> float:
    """Sum of credits over a matching, divided by the number of functions on the longer side; 0.0 where a side is empty.

    repeats_cost: times the share of distinct functions among the predicted ones, so that saying everything twice
    halves it. Repeats are matched once in any case.
    """
    ours, theirs = list(dict.fromkeys(predicted)), list(dict.fromkeys(wanted))
    if not ours or not theirs:
        return 0.0
    distinct = len(ours) / len(predicted) if repeats_cost else 1.0
    return distinct * matching(ours, theirs, credits) / max(len(ours), len(theirs))


def in_passes(predicted: Sequence[Function], wanted: Sequence[Function], credits: Credits) -> float:
    """The published matching: greedy, one pass per kind of match, the best kind first, in order of appearance.

    The original's order came from a hash seed: of two functions that match one alike, either could be taken.
    """
    ours, theirs, total = list(predicted), list(wanted), 0.0
    for kind, earned in enumerate(credits):
        for function in list(ours):
            partner = next((other for other in theirs if _agrees(function, other, kind)), None)
            if partner is not None:
                ours.remove(function)
                theirs.remove(partner)
                total += earned
    return total


def best(predicted: Sequence[Function], wanted: Sequence[Function], credits: Credits) -> float:
    """The matching of the greatest partial credit, and among equal ones that of the greatest `credits`.

    Likeness decides, not `credits` itself: that would leave unmatched every pair with a negative credit.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment  # slow to import, and needed by the spatial task alone

    kinds = [[_kind(function, other) for other in wanted] for function in predicted]
    likeness = np.array([[0.0 if k is None else PARTIAL[k] for k in row] for row in kinds])
    earned = np.array([[0.0 if k is None else credits[k] for k in row] for row in kinds])
    # All credits are quarters of at most 1: together the second ones never outweigh a quarter of the first.
    rows, columns = linear_sum_assignment(likeness * 16 * (min(likeness.shape) + 1) + earned, maximize=True)
    return float(earned[rows, columns].sum())


def _agrees(a: Function, b: Function, kind: int) -> bool:
    return a.name == b.name and (kind in (2, 3) or a.object == b.object) and (kind in (1, 3) or a.value == b.value)


def _kind(a: Function, b: Function) -> int | None:
    """The place in Credits of the best match of a and b, or None for different names."""
    return next((kind for kind in range(len(Credits._fields)) if _agrees(a, b, kind)), None)
