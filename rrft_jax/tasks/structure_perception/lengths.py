"""Perimeters and areas. Sides are drawn to scale."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from rrft_jax.tasks.structure_perception.angles import TENS
from rrft_jax.tasks.structure_perception.drafting import (
    beside,
    between,
    closed,
    middle,
    placed,
    polar,
    right_angle,
    tick,
)
from rrft_jax.tasks.structure_perception.figure import Label
from rrft_jax.tasks.structure_perception.problem import Exercise, add_up, label_numbers, over, plus, times
from rrft_jax.tasks.structure_perception.settle import Sketch

PERIMETER, AREA = "Find the perimeter.", "Find the area."
REGULAR = {4: "Square", 5: "Pentagon", 6: "Hexagon"}


def perimeter(rng: np.random.Generator) -> Exercise:
    """Of a triangle with three sides given, of a rectangle with two, of a regular polygon with one."""
    return (_three_sides, _rectangle_around, _regular)[int(rng.integers(3))](rng)


def _three_sides(rng: np.random.Generator) -> Exercise:
    while True:
        sides = [TENS * int(side) for side in rng.integers(2, 8, size=3)]
        if 2 * max(sides) < 0.9 * sum(sides):
            break
    p, q, r = sides
    along = (q * q + r * r - p * p) / (2 * q)  # foot of the third corner on the second side, by the law of cosines

    def pose(rng: np.random.Generator) -> Sketch:
        points = [(0.0, 0.0), (float(q), 0.0), (along, math.sqrt(r * r - along * along))]
        a, b, c = placed(rng, points, rng.uniform(0, 360), 4, (0.75, 1.0))
        labels = [
            beside(str(length), *side, middle(a, b, c))
            for length, side in ((q, (a, b)), (p, (b, c)), (r, (c, a)))
        ]  # fmt: skip
        return Sketch("Triangle", (closed(a, b, c),), tuple(labels))

    return Exercise(PERIMETER, pose, lambda labels: add_up(label_numbers(labels)), sum(sides), TENS)


def _sides_of_rectangle(rng: np.random.Generator, low: int, high: int) -> tuple[int, int]:
    """Two different lengths, neither more than 2.5 times the other."""
    while True:
        w, h = (int(side) for side in rng.integers(low, high + 1, size=2))
        if w != h and max(w, h) <= 2.5 * min(w, h):
            return w, h


def _rectangle(width: int, height: int) -> Callable[[np.random.Generator], Sketch]:
    def pose(rng: np.random.Generator) -> Sketch:
        points = [(0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height))]
        a, b, c, d = placed(rng, points, rng.uniform(-8, 8), 4, (0.6, 0.95))
        across = (a, b) if rng.integers(2) else (d, c)
        down = (a, d) if rng.integers(2) else (b, c)
        centre = middle(a, b, c, d)
        labels = (beside(str(width), *across, centre), beside(str(height), *down, centre))
        return Sketch("Rectangle", (closed(a, b, c, d), right_angle(a, b, d, 7), right_angle(c, b, d, 7)), labels)

    return pose


def _rectangle_around(rng: np.random.Generator) -> Exercise:
    w, h = (5 * side for side in _sides_of_rectangle(rng, 2, 16))

    def work(labels: Sequence[Label]) -> list[str]:
        return [*add_up(label_numbers(labels)), plus(w + h, w + h)]

    return Exercise(PERIMETER, _rectangle(w, h), work, 2 * (w + h), TENS)


def _regular(rng: np.random.Generator) -> Exercise:
    count, side = int(rng.choice(list(REGULAR))), int(rng.integers(4, 13))

    def pose(rng: np.random.Generator) -> Sketch:
        corners = [polar((0.0, 0.0), 1.0, 360 * i / count) for i in range(count)]
        points = placed(rng, corners, rng.uniform(0, 360), 4, (0.75, 0.9))
        label = beside(str(side), points[0], points[1], middle(*points))
        marks = [m for i in range(count) for m in tick(points[i - 1], points[i], size=3)]
        return Sketch(REGULAR[count], (closed(*points), *marks), (label,))

    return Exercise(PERIMETER, pose, lambda labels: [times(count, side)], count * side, count)


def area(rng: np.random.Generator) -> Exercise:
    """Of a rectangle, or of a triangle with base and height."""
    return (_rectangle_inside, _base_and_height)[int(rng.integers(2))](rng)


def _rectangle_inside(rng: np.random.Generator) -> Exercise:
    w, h = _sides_of_rectangle(rng, 3, 12)  # the longer is at least 4: three smaller choices fit below the answer
    return Exercise(AREA, _rectangle(w, h), lambda labels: [times(*label_numbers(labels))], w * h, min(w, h))


def _base_and_height(rng: np.random.Generator) -> Exercise:
    while True:
        base, height = _sides_of_rectangle(rng, 4, 12)
        if base * height % 2 == 0:
            break
    even = base if base % 2 == 0 else height

    def pose(rng: np.random.Generator) -> Sketch:
        foot = rng.uniform(0.25, 0.75)
        points = [(0.0, 0.0), (1.0 * base, 0.0), (foot * base, -1.0 * height), (foot * base, 0.0)]
        a, b, top, foot = placed(rng, points, 90 * int(rng.integers(4)) + rng.uniform(-8, 8), 4, (0.7, 1.0))
        dashes = [(between(foot, top, s), between(foot, top, s + 0.1)) for s in np.arange(0.0, 0.95, 0.2)]
        labels = (
            beside(str(base), a, b, top),
            beside(str(height), foot, top, (a, b)[int(rng.integers(2))]),
        )
        lines = (closed(a, b, top), *dashes, right_angle(foot, a, top, 7))
        return Sketch("Triangle", lines, labels, rivals=(middle(a, top), middle(b, top)))

    def work(labels: Sequence[Label]) -> list[str]:
        return [times(*label_numbers(labels)), over(base * height, 2)]

    return Exercise(AREA, pose, work, base * height // 2, even // 2)
