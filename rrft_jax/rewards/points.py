"""Points: reading them from any text in linear time, distances, and scoring against a mask."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rrft_jax.rewards.boxes import NUMBER

_POINT = re.compile(rf"[\[(]\s{{0,8}}({NUMBER})\s{{0,8}},\s{{0,8}}({NUMBER})\s{{0,8}}[\])]")
_BRACKETS = re.compile(r"\(([^()]*)\)")
_PLAIN = re.compile(r"[-+]?\d+(?:\.\d*)?")
_LONGEST = 40  # characters of one number


class Region(NamedTuple):
    """What a text points at: one point, or with `box` all pixels from (x, y) to before (x2, y2)."""

    x: float
    y: float
    x2: float = 0.0
    y2: float = 0.0
    box: bool = False


def read_points(text: str) -> list[tuple[float, float]]:
    """Every (x, y) or [x, y] of a text in its order."""
    return [(float(x), float(y)) for x, y in _POINT.findall(text)]


def text_points(text: str, width: int, height: int, absolute: bool = False) -> list[Region]:
    """RoboRefer's `text2pts`: what stands in round brackets, two numbers a point, four a box.

    With a decimal point in one of the numbers all are shares of width and height, cut to whole pixels; else, and with
    `absolute`, they are pixels. The published pattern, without its quadratic time on a long number.
    """
    found = []
    for body in _BRACKETS.findall(text):
        parts = body.split(",")
        words = [part.lstrip() if place else part for place, part in enumerate(parts)]
        if len(words) not in (2, 4) or not all(_PLAIN.fullmatch(w) and len(w) <= _LONGEST for w in words):
            continue
        values = [float(word) for word in words]
        if not absolute and any("." in word for word in words):
            values = [float(int(v * (height if place % 2 else width))) for place, v in enumerate(values)]
        found.append(Region(*values, box=len(values) == 4))
    return found


def mask_share(regions: Sequence[Region], mask: np.ndarray) -> float | None:
    """The share of predicted points that fall in a mask, bool[height, width]; None where there are no points.

    Points outside the picture count as wrong; a box counts as all of its pixels within the picture.
    """
    height, width = mask.shape
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = np.cumsum(np.cumsum(mask, axis=0), axis=1)
    inside = total = 0.0
    for region in regions:
        if region.box:
            x1, x2 = (min(max(int(v), 0), width) for v in (region.x, region.x2))
            y1, y2 = (min(max(int(v), 0), height) for v in (region.y, region.y2))
            if x1 < x2 and y1 < y2:
                total += (x2 - x1) * (y2 - y1)
                inside += sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]
            continue
        total += 1
        if 0 <= region.x < width and 0 <= region.y < height:
            inside += bool(mask[int(region.y), int(region.x)])
    return inside / total if total else None


def l1(a: Sequence[float], b: Sequence[float]) -> float:
    """The sum of the distances along each axis."""
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """The cosine of the angle between two vectors; 0 where one has no length."""
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0
