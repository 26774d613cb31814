"""A problem of one family: numbers, figure, answer and working; and the arithmetic that working is written in."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rrft_jax.tasks.structure_perception.figure import Label
from rrft_jax.tasks.structure_perception.settle import Sketch

Number = int | Fraction


@dataclass(frozen=True)
class Exercise:
    """What a family draws; the figure's pose is drawn afterwards.

    question: without choices; it never holds a number of the figure. pose: draws one figure, legible or not.
    work: the labels in reading order -> the steps of the working; the last step ends in the answer. spread: distance
    between choices; the answer is more than three times as large, so that it can stand at any letter.
    """

    question: str
    pose: Callable[[np.random.Generator], Sketch]
    work: Callable[[Sequence[Label]], list[str]]
    answer: Number
    spread: Number


def show(value: Number) -> str:
    """An integer, or a number with one decimal. Raises ValueError for one that needs more."""
    value = Fraction(value)
    if value.denominator == 1:
        return str(value.numerator)
    if (value * 10).denominator != 1:
        raise ValueError(f"{value} has more than one decimal: change the family's numbers")
    return f"{float(value):.1f}"


def label_numbers(labels: Sequence[Label]) -> list[int]:
    """The values of the labels that are numbers, in their order."""
    texts = [label.text.rstrip("°") for label in labels]
    return [int(text) for text in texts if text.isdigit()]


def minus(a: Number, b: Number) -> str:
    return f"{show(a)} - {show(b)} = {show(a - b)}."


def plus(a: Number, b: Number) -> str:
    return f"{show(a)} + {show(b)} = {show(a + b)}."


def times(a: Number, b: Number) -> str:
    return f"{show(a)} * {show(b)} = {show(a * b)}."


def over(a: Number, b: Number) -> str:
    return f"{show(a)} / {show(b)} = {show(Fraction(a) / b)}."


def judged_spans(thought: str) -> list[tuple[int, int]]:
    """Where the working says a result, or in the end the letter of a choice."""
    return [match.span(match.lastindex or 0) for match in re.finditer(r"= (\d+(?:\.\d)?)|\b([A-D])\.\s*$", thought)]


def take_away(total: Number, parts: Sequence[Number]) -> list[str]:
    """The parts subtracted one after the other."""
    steps = []
    for part in parts:
        steps.append(minus(total, part))
        total -= part
    return steps


def add_up(parts: Sequence[Number]) -> list[str]:
    """The parts added one after the other."""
    steps, total = [], parts[0]
    for part in parts[1:]:
        steps.append(plus(total, part))
        total += part
    return steps


def split(rng: np.random.Generator, total: int, least: Sequence[int], most: int) -> list[int]:
    """Uniformly drawn integers of that total, part i at least least[i], each at most `most`."""
    spare, count = total - sum(least), len(least)
    while True:
        cuts = np.sort(rng.choice(spare + count - 1, count - 1, replace=False))
        gaps = np.diff([-1, *cuts, spare + count - 1]) - 1
        parts = [int(low + gap) for low, gap in zip(least, gaps, strict=True)]
        if max(parts) <= most:
            return parts
