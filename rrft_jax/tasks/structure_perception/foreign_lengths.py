"""The out-of-domain families of lengths: right triangles, trapezoids, midlines of triangles. Drawn to scale."""

import numpy as np

from rrft_jax.tasks.structure_perception.angles import TENS, named, with_unknown
from rrft_jax.tasks.structure_perception.drafting import (
    arrow,
    beside,
    closed,
    middle,
    placed,
    right_angle,
    tick,
)
from rrft_jax.tasks.structure_perception.problem import Exercise, minus, over, plus, times
from rrft_jax.tasks.structure_perception.settle import Sketch

LETTERS = ("y", "n", "k")
ASKS = ("Solve for {}.", "What is the value of {}?")
# Legs and hypotenuse with the factors they come in.
TRIPLES = (((3, 4, 5), range(1, 7)), ((5, 12, 13), (1, 2)), ((8, 15, 17), (1,)), ((20, 21, 29), (1,)))


def ask(rng: np.random.Generator) -> tuple[str, str]:
    """The letter of the unknown, and the question."""
    letter = LETTERS[int(rng.integers(len(LETTERS)))]
    return letter, ASKS[int(rng.integers(len(ASKS)))].format(letter)


def pythagoras(rng: np.random.Generator) -> Exercise:
    """Two sides of a right triangle with integer sides given, the third asked for."""
    triples = [(k, tuple(k * side for side in sides)) for sides, factors in TRIPLES for k in factors]
    factor, (a, b, c) = triples[int(rng.integers(len(triples)))]
    hidden = 1 + with_unknown(rng, 2)  # the longer leg or the hypotenuse: more than three factors long
    letter, question = ask(rng)
    texts = named([a, b, c], hidden, letter)
    flip = bool(rng.integers(2))

    def pose(rng: np.random.Generator) -> Sketch:
        points = [(0.0, 0.0), (1.0 * a, 0.0), (0.0, 1.0 * b if flip else -1.0 * b)]
        corner, end, other = placed(rng, points, rng.uniform(0, 360), 4, (0.7, 1.0))
        inside = middle(corner, end, other)
        sides = ((corner, end), (corner, other), (end, other))
        labels = tuple(beside(text, *side, inside) for text, side in zip(texts, sides, strict=True))
        lines = (closed(corner, end, other), right_angle(corner, end, other))
        return Sketch("Right triangle", lines, labels, (corner, end, other))

    if hidden == 2:
        steps = [times(a, a), times(b, b), plus(a * a, b * b), times(c, c), f"{letter} = {c}."]
    else:
        steps = [times(c, c), times(a, a), minus(c * c, a * a), times(b, b), f"{letter} = {b}."]
    return Exercise(question, pose, lambda labels: steps, (a, b, c)[hidden], factor)


def trapezoid(rng: np.random.Generator) -> Exercise:
    """The midsegment is the mean of the parallel sides; it, or one of them, is asked for."""
    top = TENS * int(rng.integers(2, 7))
    bottom = top + TENS * int(rng.integers(2, 5))
    mean = (top + bottom) // 2
    hidden = int(rng.choice([1, 2]))
    letter, question = ask(rng)
    texts = named([top, mean, bottom], hidden, letter)
    upside_down = bool(rng.integers(2))

    def pose(rng: np.random.Generator) -> Sketch:
        height = (top + bottom) * rng.uniform(0.36, 0.5)
        left = rng.uniform(0.1, 0.9) * (bottom - top)
        sign = 1.0 if upside_down else -1.0
        points = [(0.0, 0.0), (1.0 * bottom, 0.0), (left + top, sign * height), (left, sign * height)]
        a, b, c, d = placed(rng, points, rng.uniform(-8, 8), 4, (0.75, 1.0))
        m, n = middle(a, d), middle(b, c)
        labels = (
            beside(texts[0], d, c, middle(a, b)),
            beside(texts[1], m, n, (middle(a, b), middle(c, d))[int(rng.integers(2))], "middle"),
            beside(texts[2], a, b, middle(c, d)),
        )
        marks = [*tick(a, m, size=3), *tick(m, d, size=3), *tick(b, n, 2, 3), *tick(n, c, 2, 3)]
        marks += [arrow(a, b, 0.85), arrow(d, c, 0.85)]
        return Sketch("Trapezoid", (closed(a, b, c, d), (m, n), *marks), labels, (a, b, c, d))

    if hidden == 1:
        steps = [plus(top, bottom), over(top + bottom, 2)]
    else:
        steps = [plus(mean, mean), minus(2 * mean, top)]
    return Exercise(question, pose, lambda labels: steps, (top, mean, bottom)[hidden], 5)


def midline(rng: np.random.Generator) -> Exercise:
    """The segment between the middles of two sides of a triangle is half as long as the third side."""
    half = 5 * int(rng.integers(4, 11))
    hidden = with_unknown(rng, 2)
    letter, question = ask(rng)
    texts = named([half, 2 * half], hidden, letter)

    def pose(rng: np.random.Generator) -> Sketch:
        points = [(0.0, 0.0), (1.0, 0.0), (rng.uniform(0.1, 0.9), -rng.uniform(0.7, 1.0))]
        turn = 90 * int(rng.integers(4)) + rng.uniform(-15, 15)
        a, b, top = placed(rng, points, turn, 4, (0.8, 1.0))
        m, n = middle(a, top), middle(b, top)
        labels = (
            beside(texts[0], m, n, (top, a)[int(rng.integers(2))], "middle"),
            beside(texts[1], a, b, top, "base"),
        )
        marks = [*tick(a, m, size=3), *tick(m, top, size=3), *tick(b, n, 2, 3), *tick(n, top, 2, 3)]
        return Sketch("Midline", (closed(a, b, top), (m, n), *marks), labels, (a, b, top))

    steps = [plus(half, half)] if hidden else [over(2 * half, 2)]
    return Exercise(question, pose, lambda labels: steps, (half, 2 * half)[hidden], 10 if hidden else 5)
