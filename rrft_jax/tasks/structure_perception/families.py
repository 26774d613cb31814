"""The families of figures by domain: a new one is a function (rng) -> Problem and one line here."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from rrft_jax.tasks.structure_perception import angles, circles, foreign_angles, foreign_lengths, lengths, triangles
from rrft_jax.tasks.structure_perception.problem import Exercise

Family = Callable[[np.random.Generator], Exercise]
IN = {
    "line": angles.line,
    "point": angles.point,
    "triangle": triangles.triangle,
    "isosceles": triangles.isosceles,
    "quadrilateral": triangles.quadrilateral,
    "parallel": angles.parallel,
    "radius": circles.radius,
    "inscribed": circles.inscribed,
    "perimeter": lengths.perimeter,
    "area": lengths.area,
}
OUT = {
    "pythagoras": foreign_lengths.pythagoras,
    "trapezoid": foreign_lengths.trapezoid,
    "midline": foreign_lengths.midline,
    "kite": foreign_angles.kite,
    "cyclic": foreign_angles.cyclic,
    "exterior": foreign_angles.exterior,
}
FAMILIES: Mapping[str, Mapping[str, Family]] = MappingProxyType({"in": IN, "out": OUT})
