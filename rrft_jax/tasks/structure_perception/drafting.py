"""What figures are drafted with: directions, arcs, marks, and a random similarity into the frame."""

import math
from collections.abc import Sequence

import numpy as np

from rrft_jax.tasks.structure_perception.figure import FRAME, Point
from rrft_jax.tasks.structure_perception.settle import Track


def polar(centre: Point, radius: float, degrees: float) -> Point:
    """The point at that distance and direction; 0 degrees to the right, 90 up."""
    angle = math.radians(degrees)
    return centre[0] + radius * math.cos(angle), centre[1] - radius * math.sin(angle)


def middle(*points: Point) -> Point:
    return sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)


def between(a: Point, b: Point, share: float) -> Point:
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])


def unit(a: Point, b: Point) -> Point:
    """The direction from a to b."""
    length = math.dist(a, b)
    return (b[0] - a[0]) / length, (b[1] - a[1]) / length


def along(a: Point, direction: Point, distance: float) -> Point:
    return a[0] + distance * direction[0], a[1] + distance * direction[1]


def closed(*points: Point) -> tuple[Point, ...]:
    return (*points, points[0])


def arc(centre: Point, radius: float, start: float = 0.0, stop: float = 360.0) -> tuple[Point, ...]:
    """A polyline from direction `start` to `stop` in degrees."""
    steps = max(4, round(abs(stop - start) / 6))
    return tuple(polar(centre, radius, start + (stop - start) * i / steps) for i in range(steps + 1))


def dot(centre: Point) -> tuple[Point, ...]:
    """A filled dot of about 4 pixels."""
    return arc(centre, 1.0)


def right_angle(vertex: Point, a: Point, b: Point, size: float = 8.0) -> tuple[Point, ...]:
    """The square that marks a right angle between the sides to a and to b."""
    u, v = unit(vertex, a), unit(vertex, b)
    one, other = along(vertex, u, size), along(vertex, v, size)
    return one, along(one, v, size), other


def tick(a: Point, b: Point, count: int = 1, size: float = 4.0) -> list[tuple[Point, ...]]:
    """Short strokes across the middle of a side: sides with as many are equally long."""
    u = unit(a, b)
    across = (-u[1], u[0])
    spots = [along(middle(a, b), u, 4.0 * (i - (count - 1) / 2)) for i in range(count)]
    return [(along(spot, across, -size), along(spot, across, size)) for spot in spots]


def arrow(a: Point, b: Point, share: float, size: float = 5.0) -> tuple[Point, ...]:
    """An arrow head on a line, the mark of parallels."""
    tip, u = between(a, b, share), unit(a, b)
    back, across = along(tip, u, -size), (-u[1], u[0])
    return along(back, across, size), tip, along(back, across, -size)


def placed(
    rng: np.random.Generator,
    points: Sequence[Point],
    turn: float = 0.0,
    margin: float = 4.0,
    fill: tuple[float, float] = (0.8, 1.0),
) -> list[Point]:
    """The points turned by `turn` degrees, scaled to a random share of the frame within `fill`, placed at random.

    Local points have y down as well, so that turning and scaling keep angles and their sense.
    """
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    turned = np.array([(cos * x + sin * y, cos * y - sin * x) for x, y in points])
    low = turned.min(axis=0)
    extent = turned.max(axis=0) - low
    room = FRAME - 2 * margin
    scale = room * rng.uniform(*fill) / extent.max()
    shift = margin + rng.uniform(0, 1, 2) * (room - scale * extent)
    return [(float(x), float(y)) for x, y in (turned - low) * scale + shift]


def in_angle(text: str, vertex: Point, a: Point, b: Point, role: str = "") -> Track:
    """A label about the bisector of the angle (below 180 degrees) between the sides to a and to b."""
    u, v = unit(vertex, a), unit(vertex, b)
    out = unit((0.0, 0.0), (u[0] + v[0], u[1] + v[1]))
    across = (-out[1], out[0])
    reaches = [along(vertex, out, reach) for reach in range(12, 43, 2)]
    spots = [along(spot, across, shift) for spot in reaches for shift in (-3.0, 0.0, 3.0)]
    return Track(text, tuple(spots), vertex, role)


def beside(text: str, a: Point, b: Point, away: Point, role: str = "", slack: float = 0.12) -> Track:
    """A label next to the middle of the side from a to b, where `away` is not; off the middle by a share `slack`."""
    u = unit(a, b)
    across = (-u[1], u[0])
    if (away[0] - a[0]) * across[0] + (away[1] - a[1]) * across[1] > 0:
        across = (-across[0], -across[1])
    spots = [
        along(between(a, b, share), across, gap)
        for share in (0.5 - slack, 0.5 - slack / 2, 0.5, 0.5 + slack / 2, 0.5 + slack)
        for gap in range(9, 19, 2)
    ]  # fmt: skip
    return Track(text, tuple(spots), middle(a, b), role)
