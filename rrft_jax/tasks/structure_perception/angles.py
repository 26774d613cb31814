"""Angles on a line, at a point, at parallel lines. Angles are drawn to scale."""

from itertools import pairwise

import numpy as np

from rrft_jax.tasks.structure_perception.drafting import arrow, in_angle, placed, polar
from rrft_jax.tasks.structure_perception.problem import Exercise, label_numbers, minus, split, take_away
from rrft_jax.tasks.structure_perception.settle import Sketch

ASK = "Find angle x."
TENS = 10


def with_unknown(rng: np.random.Generator, count: int) -> int:
    """Which of `count` labels is asked for."""
    return int(rng.integers(count))


def parts_of(rng: np.random.Generator, total: int, count: int, most: int, least: int = 40) -> tuple[list[int], int]:
    """Multiples of ten of that total from `least` to `most` each, and which of them is unknown.

    From 40 degrees on an angle has room for its label, and the answer for three smaller choices.
    """
    parts = split(rng, total // TENS, [least // TENS] * count, most // TENS)
    return [TENS * part for part in parts], with_unknown(rng, count)


def named(parts: list[int], hidden: int, unknown: str = "x", mark: str = "") -> list[str]:
    """Label texts: the numbers, and a letter for the hidden one."""
    return [unknown if i == hidden else f"{part}{mark}" for i, part in enumerate(parts)]


def line(rng: np.random.Generator) -> Exercise:
    """Two or three angles on a straight line."""
    parts, hidden = parts_of(rng, 180, int(rng.integers(2, 4)), 140)
    return _fan(parts, hidden, "Line", 180)


def point(rng: np.random.Generator) -> Exercise:
    """Three angles around a point."""
    parts, hidden = parts_of(rng, 360, 3, 170)
    return _fan(parts, hidden, "Point", 360)


def _fan(parts: list[int], hidden: int, name: str, total: int) -> Exercise:
    texts = named(parts, hidden)

    def pose(rng: np.random.Generator) -> Sketch:
        edges = np.cumsum([0, *parts]).tolist()
        ends = [polar((0.0, 0.0), 1.0, edge) for edge in edges]
        vertex, *ends = placed(rng, [(0.0, 0.0), *ends], rng.uniform(0, 360))
        labels = [in_angle(text, vertex, a, b) for text, (a, b) in zip(texts, pairwise(ends), strict=True)]
        return Sketch(name, tuple((vertex, end) for end in ends), tuple(labels))

    answer = parts[hidden]
    return Exercise(ASK, pose, lambda labels: take_away(total, label_numbers(labels)), answer, TENS)


def parallel(rng: np.random.Generator) -> Exercise:
    """Two parallel lines and a transversal: one angle of the first crossing given, one of the second asked for."""
    acute = 5 * int(rng.integers(10, 16))
    # Wedges of a crossing, counter-clockwise from the line's direction: acute, obtuse, acute, obtuse.
    given, asked = (int(w) for w in rng.integers(4, size=2))
    values = [acute if w % 2 == 0 else 180 - acute for w in (given, asked)]
    roles = ["acute" if w % 2 == 0 else "obtuse" for w in (given, asked)]
    texts = [str(values[0]), "x"]
    mirrored = bool(rng.integers(2))  # the given number at the other line

    def pose(rng: np.random.Generator) -> Sketch:
        gap = rng.uniform(0.9, 1.2)
        second = polar((0.0, 0.0), gap / np.sin(np.radians(acute)), acute)
        ends = [(x + side, y) for x, y in ((0.0, 0.0), second) for side in (-1.1, 1.1)]
        over = polar((0.0, 0.0), gap / np.sin(np.radians(acute)) + 0.6, acute)
        under = polar((0.0, 0.0), -0.6, acute)
        first, second, a, b, c, d, under, over = placed(
            rng, [(0.0, 0.0), second, *ends, under, over], 90 * int(rng.integers(4)) + rng.uniform(-15, 15)
        )
        labels = []
        for text, role, crossing, wedge in zip(
            texts, roles, (second, first) if mirrored else (first, second), (given, asked), strict=True
        ):
            right, left = (b, a) if crossing == first else (d, c)
            rays = (right, over, left, under)
            labels.append(in_angle(text, crossing, rays[wedge], rays[(wedge + 1) % 4], role))
        lines = ((a, b), (c, d), (under, over), arrow(a, b, 0.97), arrow(c, d, 0.97))
        return Sketch("Parallel", lines, tuple(labels))

    same = roles[0] == roles[1]
    steps = [f"x = {values[1]}."] if same else [minus(180, values[0])]
    return Exercise(ASK, pose, lambda labels: steps, values[1], int(rng.choice([5, 10])))
