"""Out-of-domain families of angles: kites, quadrilaterals in a circle, exterior angles. With degree signs."""

import numpy as np

from rrft_jax.tasks.structure_perception.angles import TENS, named
from rrft_jax.tasks.structure_perception.circles import centred
from rrft_jax.tasks.structure_perception.drafting import (
    along,
    arc,
    closed,
    in_angle,
    placed,
    polar,
    tick,
    unit,
)
from rrft_jax.tasks.structure_perception.foreign_lengths import ask
from rrft_jax.tasks.structure_perception.problem import Exercise, minus, over, plus
from rrft_jax.tasks.structure_perception.settle import Sketch
from rrft_jax.tasks.structure_perception.triangles import corners

DEGREES = "°"


def kite(rng: np.random.Generator) -> Exercise:
    """A kite's two side angles are equal; a side angle, or the top one, is asked for."""
    top, side = (TENS * int(a) for a in (rng.integers(7, 13), rng.integers(8, 13)))
    bottom = 360 - top - 2 * side
    if not 50 <= bottom <= 100:
        return kite(rng)
    wants_side = bool(rng.integers(2))
    letter, question = ask(rng)
    texts = named([top, side, bottom], 1 if wants_side else 0, letter, DEGREES)
    right = bool(rng.integers(2))

    def pose(rng: np.random.Generator) -> Sketch:
        # Half a kite is a triangle of half the top angle, the side angle and half the bottom angle.
        t, s, b = corners((top / 2, side, bottom / 2))
        u = unit(t, b)
        height = (s[0] - t[0]) * -u[1] + (s[1] - t[1]) * u[0]
        mirror = along(s, (-u[1], u[0]), -2 * height)
        t, s, b, m = placed(rng, (t, s, b, mirror), rng.uniform(0, 360), 4, (0.9, 1.0))
        at = s if right else m
        labels = (
            in_angle(texts[0], t, s, m, "top"),
            in_angle(texts[1], at, t, b, "side"),
            in_angle(texts[2], b, s, m, "bottom"),
        )
        marks = [*tick(t, s), *tick(t, m), *tick(b, s, 2), *tick(b, m, 2)]
        return Sketch("Kite", (closed(t, s, b, m), *marks), labels, (t, s, b, m), (m if right else s,))

    if wants_side:
        steps = [minus(360, top), minus(360 - top, bottom), over(2 * side, 2)]
        return Exercise(question, pose, lambda labels: steps, side, TENS)
    steps = [plus(side, side), minus(360, 2 * side), minus(360 - 2 * side, bottom)]
    return Exercise(question, pose, lambda labels: steps, top, TENS)


def cyclic(rng: np.random.Generator) -> Exercise:
    """Opposite angles of a quadrilateral whose corners are on a circle make 180."""
    given = 5 * int(rng.integers(12, 25))
    letter, question = ask(rng)

    def pose(rng: np.random.Generator) -> Sketch:
        centre, size = centred(rng, 46, 53)
        # The angle at the first corner spans the half of the arc that leads over the second, third and fourth.
        turn, near, far = rng.uniform(0, 360), rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65)
        steps = (0.0, near * (360 - 2 * given), 360 - 2 * given)
        b, a, d = (polar(centre, size, turn + step) for step in steps)
        c = polar(centre, size, turn - far * 2 * given)
        labels = (in_angle(f"{given}{DEGREES}", a, b, d), in_angle(letter, c, b, d))
        return Sketch("Cyclic", (arc(centre, size), closed(a, b, c, d)), labels, (a, b, c, d))

    return Exercise(question, pose, lambda labels: [minus(180, given)], 180 - given, 5)


def exterior(rng: np.random.Generator) -> Exercise:
    """An exterior angle is the sum of the two inner angles far from it; it, or one of those, is asked for."""
    a, b = (5 * int(v) for v in rng.integers(10, 16, size=2))
    if a + b > 125:
        return exterior(rng)
    hidden = int(rng.choice([0, 2]))
    letter, question = ask(rng)
    texts = named([a, b, a + b], hidden, letter, DEGREES)

    def pose(rng: np.random.Generator) -> Sketch:
        one, other, third = corners((a, b, 180 - a - b))
        end = along(third, unit(one, third), 0.7)
        one, other, third, end = placed(rng, (one, other, third, end), rng.uniform(0, 360), 4, (0.9, 1.0))
        labels = (
            in_angle(texts[0], one, other, third, "inside"),
            in_angle(texts[1], other, one, third, "inside"),
            in_angle(texts[2], third, other, end, "outside"),
        )
        return Sketch("Exterior angle", (closed(one, other, third), (third, end)), labels, (one, other, third))

    if hidden == 2:
        return Exercise(question, pose, lambda labels: [plus(a, b)], a + b, 5)
    return Exercise(question, pose, lambda labels: [minus(a + b, b)], a, 5)
