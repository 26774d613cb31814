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
APART = 3.0  # between two labels
OFF_CENTRE = 9.0  # between a label's centre and its token's, along x or y
GOOD, ATTEMPTS = 4, 2000


@dataclass(frozen=True)
class Track:
    """A label that may stand at any of these places."""

    text: str
    places: tuple[Point, ...]
    role: str = ""


@dataclass(frozen=True)
class Sketch:
    """A figure whose labels have not found their places. Fields as in Figure."""

    name: str
    lines: tuple[tuple[Point, ...], ...]
    tracks: tuple[Track, ...]
    area: tuple[Point, ...] = ()


def settle(rng: np.random.Generator, pose: Callable[[np.random.Generator], Sketch]) -> Figure:
    """The best of a few legible figures that `pose` draws, its labels in reading order.

    Best: labels nearest to the centres of their visual tokens. Raises RuntimeError if no pose is legible.
    """
    best, least, found = None, math.inf, 0
    for _ in range(ATTEMPTS):
        sketch = pose(rng)
        labels = _labels(sketch)
        if labels is None:
            continue
        off = sum(off_centre(label) for label in labels)
        if off < least:
            best, least = (sketch, labels), off
        found += 1
        if found == GOOD:
            break
    if best is None:
        raise RuntimeError(f"no legible pose of {sketch.name} {[t.text for t in sketch.tracks]} in {ATTEMPTS} attempts")
    sketch, labels = best
    return Figure(sketch.name, sketch.lines, tuple(sorted(labels, key=lambda label: label.cell)), sketch.area)


def _labels(sketch: Sketch) -> list[Label] | None:
    """Every label at the place of its track that is free and nearest to the middle of a visual token, else None."""
    ink = ink_points(sketch.lines)
    if ink.min() < MARGIN or ink.max() > FRAME - MARGIN:
        return None
    labels: list[Label] = []
    for track in sketch.tracks:
        free = [place for place in _free(track, ink) if not any(_too_near(place, other) for other in labels)]
        if not free:
            return None
        labels.append(min(free, key=off_centre))
    return labels


def _free(track: Track, ink: np.ndarray) -> list[Label]:
    """The places, on whole pixels, where a label is inside the picture, away from lines and well inside its token."""
    half = np.array([width(track.text) / 2, HEIGHT / 2])
    at = np.round(np.array(track.places) - half) + half
    inside = np.all((at >= half + MARGIN) & (at <= FRAME - half - MARGIN), axis=1)
    inside &= np.abs(at % TOKEN - TOKEN / 2).max(axis=1) <= OFF_CENTRE
    at = at[inside]
    near = np.all(np.abs(at[:, None] - ink) < half + CLEAR, axis=-1)
    return [Label(track.text, float(x), float(y), track.role) for x, y in at[~near.any(axis=1)]]


def _too_near(one: Label, other: Label) -> bool:
    return one.cell == other.cell or overlap(one, other, APART)


def overlap(one: Label, other: Label, apart: float = 0.0) -> bool:
    """Whether two labels' boxes come closer than `apart` along both axes."""
    a, b = one.box, other.box
    return a[0] < b[2] + apart and b[0] < a[2] + apart and a[1] < b[3] + apart and b[1] < a[3] + apart


def ink_points(lines: Sequence[Sequence[Point]]) -> np.ndarray:
    """float64[N, 2]: points along all lines, at most 2 pixels apart."""
    starts = np.array([a for line in lines for a in line[:-1]])
    ends = np.array([b for line in lines for b in line[1:]])
    steps = (np.hypot(*(ends - starts).T) / 2).astype(int) + 2
    rank = np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)
    share = (rank / np.repeat(steps - 1, steps))[:, None]
    return np.repeat(starts, steps, axis=0) * (1 - share) + np.repeat(ends, steps, axis=0) * share


def off_centre(label: Label) -> float:
    """Pixels from a label's centre to its visual token's, the larger of x and y."""
    row, column = label.cell
    return max(abs(label.x - TOKEN * (column + 0.5)), abs(label.y - TOKEN * (row + 0.5)))
