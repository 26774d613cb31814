"""The transient adaptation gap: how far accuracy falls when training starts, and when it is back."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Adaptation:
    """gap: accuracy at the start minus the lowest, >= 0. lowest_step: where that is first reached. recovery_step: the
    first step after it with at least the accuracy of the start, None if never; the first step of all where nothing was
    lost."""

    gap: float
    lowest_step: int
    recovery_step: int | None


def adaptation(curve: Iterable[tuple[int, float]]) -> Adaptation:
    """The gap of a curve of (step, accuracy). Evaluate every 10 steps or more often: the fall lasts about 15.

    ValueError for an empty curve, one that names a step twice, or an accuracy that is no number.
    """
    points = sorted(curve)
    steps = [step for step, _ in points]
    if not points or len(set(steps)) < len(steps) or any(math.isnan(accuracy) for _, accuracy in points):
        raise ValueError(f"adaptation: a curve has one accuracy for each of its steps, got {points}")
    start = points[0][1]
    lowest_step, lowest = min(points, key=lambda point: (point[1], point[0]))
    if lowest == start:
        return Adaptation(0.0, lowest_step, lowest_step)
    back = next((step for step, accuracy in points if step > lowest_step and accuracy >= start), None)
    return Adaptation(start - lowest, lowest_step, back)
