"""How a legible figure is found: poses are drawn at random, and labels take the best place on their tracks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rrft_jax.tasks.structure_perception.figure import FRAME, TOKEN, Figure, Label, Point
from rrft_jax.tasks.structure_perception.glyphs import HEIGHT, width

# How labels must stand. Every label has a visual token of its own, and its centre is well inside, so that the order in
# which they are read (row by row of tokens) is never in doubt.
MARGIN = 1.0  # between anything and the edge of the picture
CLEAR = 2.5  # between a label and the middle of a line, half of the line's thickness included
APART = 4.0  # between two labels
OFF_CENTRE = 9.0  # between a label's centre and its token's, along x or y
RIVAL = 1.15  # what a label does not measure is farther away than what it measures, by this factor
REMOTE = 0.5  # a pixel away from what is measured costs as much as half a pixel away from the token's centre
ONSET = 7.0  # lines nearer than this to what is measured belong to it
GOOD, ATTEMPTS = 3, 200


@dataclass(frozen=True)
class Track:
    """A label that may stand at any of these places, the nearer to `anchor` the better: the thing that it measures."""

    text: str
    places: tuple[Point, ...]
    anchor: Point
    role: str = ""


@dataclass(frozen=True)
class Sketch:
    """A figure whose labels have not found their places. Fields as in Figure; rivals: what no label measures."""

    name: str
    lines: tuple[tuple[Point, ...], ...]
    tracks: tuple[Track, ...]
    area: tuple[Point, ...] = ()
    rivals: tuple[Point, ...] = ()


def legible_figure(rng: np.random.Generator, pose: Callable[[np.random.Generator], Sketch]) -> Figure | None:
    """The best of a few legible figures that `pose` draws, its labels in reading order; None if it draws none.

    Best: labels near to the centres of their visual tokens and to what they measure.
    """
    best, least, found = None, math.inf, 0
    for _ in range(ATTEMPTS):
        sketch = pose(rng)
        found_places = _places(sketch)
        if found_places is None:
            continue
        labels, cost = found_places
        if cost < least:
            best, least = (sketch, labels), cost
        found += 1
        if found == GOOD:
            break
    if best is None:
        return None
    sketch, labels = best
    return Figure(sketch.name, sketch.lines, tuple(sorted(labels, key=lambda label: label.cell)), sketch.area)


def _places(sketch: Sketch) -> tuple[list[Label], float] | None:
    """Every label at the cheapest free place of its track, and what they cost together; None if one has no place."""
    starts, ends = strokes(sketch.lines)
    ink = ink_points(starts, ends)
    if ink.min() < MARGIN or ink.max() > FRAME - MARGIN:
        return None
    labels: list[Label] = []
    total = 0.0
    for track in sketch.tracks:
        others = [other.anchor for other in sketch.tracks if math.dist(other.anchor, track.anchor) > 1]
        rivals = [*others, *sketch.rivals]
        at, costs = _free(track, rivals, ink)
        hidden = _crossed(track.anchor, at, starts, ends)
        at, costs = at[~hidden], costs[~hidden]
        for i in np.argsort(costs, kind="stable"):
            label = Label(track.text, float(at[i, 0]), float(at[i, 1]), track.role)
            if not any(_too_near(label, other) for other in labels):
                labels.append(label)
                total += float(costs[i])
                break
        else:
            return None
    return labels, total


def _free(track: Track, rivals: Sequence[Point], ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float[N, 2] places and float[N] their costs.

    On whole pixels, where the label is inside the picture, away from lines, well inside its token, nearer to its own
    anchor than to the rivals.
    """
    half = np.array([width(track.text) / 2, HEIGHT / 2])
    at = np.round(np.array(track.places) - half) + half
    off = np.abs(at % TOKEN - TOKEN / 2).max(axis=1)
    far = np.hypot(*(at - track.anchor).T)
    good = np.all((at >= half + MARGIN) & (at <= FRAME - half - MARGIN), axis=1) & (off <= OFF_CENTRE)
    for rival in rivals:
        good &= np.hypot(*(at - rival).T) > RIVAL * far
    at, costs = at[good], (off + REMOTE * far)[good]
    clear = ~np.all(np.abs(at[:, None] - ink) < half + CLEAR, axis=-1).any(axis=1)
    return at[clear], costs[clear]


def _crossed(anchor: Point, at: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """bool[N]: whether a stroke runs between a place and its anchor, the first ONSET pixels from the anchor aside."""
    way = at - anchor
    begin = anchor + way * np.minimum(1, ONSET / np.maximum(np.hypot(*way.T), 1e-9))[:, None]
    begin, at = begin[:, None], at[:, None]
    sides = _side(starts, ends, begin) * _side(starts, ends, at), _side(begin, at, starts) * _side(begin, at, ends)
    return np.any((sides[0] < 0) & (sides[1] < 0), axis=1)


def _side(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Positive or negative by the side of the line from a to b that p is on."""
    return (b[..., 0] - a[..., 0]) * (p[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (p[..., 0] - a[..., 0])


def _too_near(one: Label, other: Label) -> bool:
    return one.cell == other.cell or overlap(one, other, APART)


def overlap(one: Label, other: Label, apart: float = 0.0) -> bool:
    """Whether two labels' boxes come closer than `apart` along both axes."""
    a, b = one.box, other.box
    return a[0] < b[2] + apart and b[0] < a[2] + apart and a[1] < b[3] + apart and b[1] < a[3] + apart


def strokes(lines: Sequence[Sequence[Point]]) -> tuple[np.ndarray, np.ndarray]:
    """float64[N, 2] each: where the straight pieces of all lines start and end."""
    return np.array([a for line in lines for a in line[:-1]]), np.array([b for line in lines for b in line[1:]])


def ink_points(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """float64[M, 2]: points along the pieces, at most 2 pixels apart."""
    steps = (np.hypot(*(ends - starts).T) / 2).astype(int) + 2
    rank = np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)
    share = (rank / np.repeat(steps - 1, steps))[:, None]
    return np.repeat(starts, steps, axis=0) * (1 - share) + np.repeat(ends, steps, axis=0) * share
