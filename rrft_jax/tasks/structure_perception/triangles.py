"""Angle sums of a triangle, of an isosceles triangle and of a quadrilateral. Angles are drawn to scale."""

import math

import numpy as np

from rrft_jax.tasks.structure_perception.angles import ASK, TENS, named, parts_of
from rrft_jax.tasks.structure_perception.drafting import closed, in_angle, placed, polar, tick
from rrft_jax.tasks.structure_perception.figure import Point
from rrft_jax.tasks.structure_perception.problem import Exercise, label_numbers, minus, over, plus, take_away
from rrft_jax.tasks.structure_perception.settle import Sketch


def corners(angles: tuple[float, ...]) -> list[Point]:
    """A triangle with these angles, on the unit circle: an arc spans twice the angle it is seen under."""
    a, _, c = angles
    return [polar((0.0, 0.0), 1.0, turn) for turn in (90.0, 90.0 + 2 * c, 90.0 + 2 * c + 2 * a)]


def triangle(rng: np.random.Generator) -> Exercise:
    """Two angles given, the third asked for."""
    parts, hidden = parts_of(rng, 180, 3, 100)
    texts = named(parts, hidden)

    def pose(rng: np.random.Generator) -> Sketch:
        a, b, c = placed(rng, corners(tuple(parts)), rng.uniform(0, 360))
        sides = ((a, b, c), (b, c, a), (c, a, b))
        labels = [in_angle(text, *side) for text, side in zip(texts, sides, strict=True)]
        return Sketch("Triangle", (closed(a, b, c),), tuple(labels))

    return Exercise(ASK, pose, lambda labels: take_away(180, label_numbers(labels)), parts[hidden], TENS)


def isosceles(rng: np.random.Generator) -> Exercise:
    """Equal sides are ticked; from the angle at the apex to one at the base, or back."""
    apex = TENS * int(rng.integers(4, 10))
    base = (180 - apex) // 2
    wants_base = bool(rng.integers(2))
    texts = (str(apex), "x") if wants_base else ("x", str(base))
    corner = int(rng.integers(1, 3))

    def pose(rng: np.random.Generator) -> Sketch:
        turn = 90 * int(rng.integers(4)) + rng.uniform(-15, 15)
        top, left, right = placed(rng, corners((apex, base, base)), turn)
        at, other = ((left, right), (right, left))[corner - 1]
        labels = (
            in_angle(texts[0], top, left, right, "apex"),
            in_angle(texts[1], at, top, other, "base"),
        )
        return Sketch(
            "Isosceles", (closed(top, left, right), *tick(top, left), *tick(top, right)), labels, rivals=(other,)
        )

    if wants_base:
        return Exercise(ASK, pose, lambda labels: [minus(180, apex), over(180 - apex, 2)], base, 5)
    return Exercise(ASK, pose, lambda labels: [plus(base, base), minus(180, 2 * base)], apex, TENS)


def quadrilateral(rng: np.random.Generator) -> Exercise:
    """Three angles given, the fourth asked for."""
    parts, hidden = parts_of(rng, 360, 4, 130, 60)
    texts = named(parts, hidden)

    def pose(rng: np.random.Generator) -> Sketch:
        points = placed(rng, _four_corners(rng, parts), rng.uniform(0, 360), fill=(0.9, 1.0))
        labels = [in_angle(text, points[i], points[i - 1], points[(i + 1) % 4]) for i, text in enumerate(texts)]
        return Sketch("Quadrilateral", (closed(*points),), tuple(labels))

    return Exercise(ASK, pose, lambda labels: take_away(360, label_numbers(labels)), parts[hidden], TENS)


def _four_corners(rng: np.random.Generator, angles: list[int]) -> list[Point]:
    """A convex quadrilateral with these angles, no side shorter than a third of the first one."""
    while True:
        # Sides as directions turning by the outer angles; the last two lengths close the figure.
        turns = np.cumsum([0, *(180 - a for a in angles[1:])])
        u = [np.array([math.cos(math.radians(t)), math.sin(math.radians(t))]) for t in turns]
        second = rng.uniform(0.5, 1.5)
        third, fourth = np.linalg.solve(np.stack([u[2], u[3]], axis=1), -(u[0] + second * u[1]))
        if min(third, fourth) > 0.34:
            break
    points = [np.zeros(2), u[0], u[0] + second * u[1], u[0] + second * u[1] + third * u[2]]
    return [(float(x), float(y)) for x, y in points]
