"""Answers measured off the drawn lines, by family: what a person with ruler and protractor would find.

Nothing here reads the problem's numbers or working. The labels' numbers serve as the scale of a length, and where a
label stands says which angle or side it names.
"""

import math

import numpy as np

from rrft_jax.tasks.structure_perception.figure import Figure, Label


def direction(a, b) -> float:
    """Degrees, counter-clockwise on the page."""
    return math.degrees(math.atan2(a[1] - b[1], b[0] - a[0])) % 360


def wedge(vertex, rays, label: Label) -> float:
    """Of the angles between neighbouring rays, the one that the label stands in."""
    turns = sorted(direction(vertex, ray) for ray in rays)
    at = direction(vertex, (label.x, label.y))
    below = max((t for t in turns if t <= at), default=turns[-1] - 360)
    above = min((t for t in turns if t > at), default=turns[0] + 360)
    return above - below


def nearest(points, label: Label) -> int:
    return int(np.argmin([math.dist(point, (label.x, label.y)) for point in points]))


def corner_angle(corners, label: Label) -> float:
    """The inner angle at the corner that the label stands nearest to."""
    i = nearest(corners, label)
    return wedge(corners[i], (corners[i - 1], corners[(i + 1) % len(corners)]), label)


def crossing(a, b, c, d):
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = a, b, c, d
    t = ((cx - ax) * (dy - cy) - (cy - ay) * (dx - cx)) / ((bx - ax) * (dy - cy) - (by - ay) * (dx - cx))
    return ax + t * (bx - ax), ay + t * (by - ay)


def angles(kind: str, figure: Figure) -> list[float]:
    """Degrees of the angle that each label names."""
    lines, labels = figure.lines, figure.labels
    if kind in ("line", "point"):
        return [wedge(lines[0][0], [line[1] for line in lines], label) for label in labels]
    if kind in ("triangle", "isosceles", "quadrilateral", "kite"):
        return [corner_angle(lines[0][:-1], label) for label in labels]
    if kind == "cyclic":
        return [corner_angle(lines[1][:-1], label) for label in labels]
    if kind == "exterior":
        corners, (third, end) = lines[0][:-1], lines[1]
        found = []
        for label in labels:
            if nearest(corners, label) == 2:
                found.append(wedge(third, (*corners[:2], end), label))
            else:
                found.append(corner_angle(corners, label))
        return found
    if kind == "inscribed":
        (a, centre, b), (_, top, _) = lines[1], lines[2]
        seen = {vertex: wedge(vertex, (a, b), Label("", *np.add(vertex, np.subtract(np.add(a, b) / 2, vertex) / 9)))
                for vertex in (centre, top)}  # fmt: skip
        # Only the label of the centre stands in the wedge that opens from there.
        return [seen[centre if wedge(centre, (a, b), label) == seen[centre] else top] for label in labels]
    if kind == "parallel":
        (a, b), (c, d), (under, over) = lines[:3]
        marks = [crossing(a, b, under, over), crossing(c, d, under, over)]
        ends = [(a, b, under, over), (c, d, under, over)]
        spots = [nearest(marks, label) for label in labels]
        assert sorted(spots) == [0, 1]
        return [wedge(marks[i], ends[i], label) for i, label in zip(spots, labels, strict=True)]
    raise KeyError(kind)


def area(corners) -> float:
    x, y = np.array(corners).T
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2


def sides(corners) -> list:
    return [(corners[i - 1], corners[i]) for i in range(len(corners))]


def segments(kind: str, figure: Figure) -> list:
    """The segments of a figure that its labels may name."""
    lines = figure.lines
    if kind in ("perimeter", "pythagoras"):
        return sides(lines[0][:-1])
    if kind in ("midline", "trapezoid"):
        return [*sides(lines[0][:-1]), lines[1]]
    if kind == "area":
        corners = lines[0][:-1]
        if figure.name == "Rectangle":
            return sides(corners)
        a, b, top = corners
        u = np.subtract(b, a) / math.dist(a, b)
        foot = tuple(np.add(a, np.dot(np.subtract(top, a), u) * u))
        return [*sides(corners), (foot, top)]
    raise KeyError(kind)


def lengths(kind: str, figure: Figure) -> list[float]:
    """Pixels of the segment that each label names: the one whose middle is nearest."""
    choices = segments(kind, figure)
    middles = [tuple(np.add(a, b) / 2) for a, b in choices]
    return [math.dist(*choices[nearest(middles, label)]) for label in figure.labels]
