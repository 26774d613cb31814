"""Radius and diameter, central and inscribed angle."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from rrft_jax.tasks.structure_perception.angles import ASK, TENS
from rrft_jax.tasks.structure_perception.drafting import arc, beside, dot, in_angle, polar
from rrft_jax.tasks.structure_perception.figure import FRAME, Point
from rrft_jax.tasks.structure_perception.problem import Exercise, over, plus
from rrft_jax.tasks.structure_perception.settle import Sketch


def centred(rng: np.random.Generator, least: float, most: float) -> tuple[Point, float]:
    """Centre and radius of a circle inside the frame."""
    radius = rng.uniform(least, most)
    slack = FRAME / 2 - radius - 3
    x, y = FRAME / 2 + rng.uniform(-slack, slack, 2)
    return (float(x), float(y)), float(radius)


def radius(rng: np.random.Generator) -> Exercise:
    """The diameter of a circle whose radius is drawn, or the other way round."""
    if rng.integers(2):
        known = 5 * int(rng.integers(4, 13))
        question, role, answer, spread = "Find the diameter.", "radius", 2 * known, TENS
        steps = [plus(known, known)]
    else:
        known = 5 * int(rng.integers(4, 21))
        question, role, answer, spread = "Find the radius.", "diameter", Fraction(known, 2), Fraction(5, 2)
        steps = [over(known, 2)]

    def pose(rng: np.random.Generator) -> Sketch:
        centre, size = centred(rng, 40, 52)
        turn = rng.uniform(0, 360)
        end, other = polar(centre, size, turn), polar(centre, size, turn + 180)
        away = polar(centre, size, turn + 90 * rng.choice([-1, 1]))
        start = centre if role == "radius" else other
        # Next to the very middle of a diameter: farther out it would be read as that of a radius.
        label = beside(str(known), start, end, away, role, 0.12 if role == "radius" else 0.03)
        return Sketch("Circle", (arc(centre, size), dot(centre), (start, end)), (label,))

    return Exercise(question, pose, lambda labels: steps, answer, spread)


def inscribed(rng: np.random.Generator) -> Exercise:
    """The angles over one arc, seen from the centre and from the edge."""
    edge = 5 * int(rng.integers(9, 16))
    wants_edge = bool(rng.integers(2))
    texts = (str(2 * edge), "x") if wants_edge else ("x", str(edge))

    def pose(rng: np.random.Generator) -> Sketch:
        centre, size = centred(rng, 46, 53)
        turn = rng.uniform(0, 360)
        a, b = polar(centre, size, turn - edge), polar(centre, size, turn + edge)
        top = polar(centre, size, turn + 180 + rng.uniform(-20, 20))
        # Past the centre, where its label is: that of a narrow angle at the edge may have to come near the centre.
        beyond = polar(centre, 14.0, turn)
        labels = (
            replace(in_angle(texts[0], centre, a, b, "center"), anchor=beyond),
            in_angle(texts[1], top, a, b, "edge"),
        )
        return Sketch("Circle", (arc(centre, size), (a, centre, b), (a, top, b)), labels)

    if wants_edge:
        return Exercise(ASK, pose, lambda labels: [over(2 * edge, 2)], edge, 5)
    return Exercise(ASK, pose, lambda labels: [plus(edge, edge)], 2 * edge, TENS)
