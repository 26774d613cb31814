"""Boxes: x1, y1, x2, y2 from the top left corner. Reading them from any text in linear time, IoU, GIoU, matching."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

# Bounded, so that no text makes a pattern try a long run again from each of its places.
NUMBER = r"[-+]?\d{1,9}(?:\.\d{0,9})?"
_AT_ONCE = 256  # boxes whose overlaps are in memory together
_GAP = r"\s{0,8}"
_NUMBERS = {n: _GAP + f"{_GAP},{_GAP}".join([f"({NUMBER})"] * n) + _GAP for n in (2, 4)}
_BOX = re.compile(
    rf"\[{_NUMBERS[4]}\]|\({_NUMBERS[4]}\)|\({_NUMBERS[2]}\){_GAP},?{_GAP}\({_NUMBERS[2]}\)"
    rf"|\[{_NUMBERS[2]}\]{_GAP},{_GAP}\[{_NUMBERS[2]}\]"
)


class Box(NamedTuple):
    """Two corners. It has an area where x1 < x2 and y1 < y2; others are kept, and overlap with nothing."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def area(self) -> float:
        return max(0.0, self.x2 - self.x1) * max(0.0, self.y2 - self.y1) if self.upright else 0.0

    @property
    def upright(self) -> bool:
        return self.x1 < self.x2 and self.y1 < self.y2 and all(map(math.isfinite, self))

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies in the box or on its edge."""
        return self.x1 <= x <= self.x2 and self.y1 <= y <= self.y2


def as_box(value: Any) -> Box | None:
    """A list of four finite numbers as a box; None for anything else."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        return None
    if any(isinstance(x, bool) or not isinstance(x, int | float) for x in value):
        return None
    try:
        box = Box(*map(float, value))
    except OverflowError:
        return None
    return box if all(map(math.isfinite, box)) else None


def read_boxes(text: str) -> list[Box]:
    """Every box of a text in its order: [x1, y1, x2, y2] or [x1, y1], [x2, y2], and the same in round brackets."""
    return [Box(*(float(x) for x in found.groups() if x is not None)) for found in _BOX.finditer(text)]


def iou(a: Box, b: Box) -> float:
    """Intersection over union, in [0, 1]; 0 where one of the boxes has no area."""
    both = _overlap(a, b)
    return both / (a.area + b.area - both) if both else 0.0


def giou(a: Box, b: Box) -> float:
    """Generalised IoU (Rezatofighi et al. 2019, eq. 4), in [-1, 1]: IoU minus the share of the enclosing box that is in
    neither. -1 where one of the boxes has no area."""
    if not (a.area and b.area):
        return -1.0
    both = _overlap(a, b)
    union = a.area + b.area - both
    around = (max(a.x2, b.x2) - min(a.x1, b.x1)) * (max(a.y2, b.y2) - min(a.y1, b.y1))
    return both / union - (around - union) / around


def iou_table(boxes: Sequence[Box], others: Sequence[Box]) -> np.ndarray:
    """float64[len(boxes), len(others)] of `iou`."""
    a, b = (np.asarray(list(each), np.float64).reshape(-1, 4) for each in (boxes, others))
    areas = [np.where(_upright(x), (x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]), 0.0) for x in (a, b)]
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0.0), axis=-1) * (areas[0][:, None] > 0) * (areas[1][None] > 0)
    union = areas[0][:, None] + areas[1][None] - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


def match(boxes: Sequence[Box], gold: Sequence[Box], threshold: float = 0.5) -> list[float]:
    """The IoU of each box, in the order given, with the gold box that it takes; 0.0 where it takes none.

    Greedy: each box takes, of the gold boxes that are left, the one of the greatest IoU, if that is above `threshold`.
    """
    found, left = [], np.ones(len(gold), bool)
    rows = (row for start in range(0, len(boxes), _AT_ONCE) for row in iou_table(boxes[start : start + _AT_ONCE], gold))
    for row in rows:
        best = int(np.argmax(np.where(left, row, -1.0))) if left.any() else -1
        taken = best >= 0 and row[best] > threshold
        found.append(float(row[best]) if taken else 0.0)
        if taken:
            left[best] = False
    return found


def _overlap(a: Box, b: Box) -> float:
    if not (a.area and b.area):
        return 0.0
    return max(0.0, min(a.x2, b.x2) - max(a.x1, b.x1)) * max(0.0, min(a.y2, b.y2) - max(a.y1, b.y1))


def _upright(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
