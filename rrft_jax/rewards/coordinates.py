"""The four ways in which systems write coordinates, each converted through original pixels.

    pixels       of the picture as it is stored
    resized      pixels of the picture that the model sees (`data.sizes.resized`)
    thousandths  0 to 1000 along each side, whole numbers
    unit         0 to 1 along each side, three decimals

Gold is kept in original pixels with the picture's size; a reward converts what a completion says when it reads it.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rrft_jax.data.sizes import MAX_PIXELS, MIN_PIXELS, SIDE, resized

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

CONVENTIONS = ("pixels", "resized", "thousandths", "unit")
_N = r"\s{0,8}([-+]?\d{1,9}(?:\.\d{0,9})?)\s{0,8}"
_PLACE = re.compile(rf"[\[(]{_N},{_N}(?:,{_N},{_N})?[\])]")  # a point or a box


class Frame(NamedTuple):
    """Width and height of a picture in pixels, as it is stored and as the model sees it."""

    width: float
    height: float
    resized_width: float
    resized_height: float

    @property
    def diagonal(self) -> float:
        return math.hypot(self.width, self.height)


def frame(
    width: float, height: float, min_pixels: int = MIN_PIXELS, max_pixels: int = MAX_PIXELS, side: int = SIDE
) -> Frame:
    """The frame of a picture under an image processor with these limits and visual tokens of `side` pixels. ValueError
    for a size without an area, and as `resized` raises."""
    if not (width > 0 and height > 0):
        raise ValueError(f"a picture of {width}x{height} pixels has no area")
    high, wide = resized(int(height), int(width), side, min_pixels, max_pixels)
    return Frame(width, height, wide, high)


def size_of(example: "Example") -> tuple[int, int]:
    """(width, height) that a record states in `size` or `img_size`. ValueError where it states none."""
    size = next((example.metadata[key] for key in ("size", "img_size") if example.metadata.get(key)), None)
    whole = isinstance(size, list | tuple) and len(size) == 2 and all(_is_number(x) and x >= 1 for x in size)
    if not whole:
        raise ValueError(f"size is {size!r}; give the picture's [width, height] in pixels")
    return int(size[0]), int(size[1])


def frame_of(
    example: "Example", min_pixels: int = MIN_PIXELS, max_pixels: int = MAX_PIXELS, side: int = SIDE
) -> Frame:
    """The frame of an example's picture."""
    return frame(*size_of(example), min_pixels, max_pixels, side)


def convert(values: Sequence[float], source: str, target: str, frame: Frame) -> tuple[float, ...]:
    """Coordinates x, y, x, y, ... of one convention in another, not rounded. ValueError for an unknown convention."""
    from_x, from_y = _scale(source, frame)
    to_x, to_y = _scale(target, frame)
    factors = (to_x / from_x, to_y / from_y)
    return tuple(float(value) * factors[place % 2] for place, value in enumerate(values))


def written(values: Iterable[float], convention: str) -> tuple[str, ...]:
    """Coordinates as a completion writes them: three decimals for `unit`, else whole numbers."""
    return tuple(f"{value:.3f}" if convention == "unit" else str(math.floor(value + 0.5)) for value in values)


def rewrite(text: str, source: str, target: str, frame: Frame) -> str:
    """A text whose points and boxes, two or four numbers in brackets, are of one convention, with them in another. Such
    numbers that are all -1, which say that there is no place, stay; whole numbers that change get decimals."""

    def change(found: re.Match) -> str:
        numbers = [float(number) for number in found.groups() if number is not None]
        if all(number == -1 for number in numbers):
            return found[0]
        said = ", ".join(f"{value:.6f}" for value in convert(numbers, source, target, frame))
        return f"{found[0][0]}{said}{found[0][-1]}"

    return _PLACE.sub(change, text)


def _scale(convention: str, frame: Frame) -> tuple[float, float]:
    """What the whole width and the whole height are in a convention."""
    scales = {
        "pixels": (frame.width, frame.height), "resized": (frame.resized_width, frame.resized_height),
        "thousandths": (1000.0, 1000.0), "unit": (1.0, 1.0),
    }  # fmt: skip
    if convention not in scales:
        raise ValueError(f"coordinates={convention!r}: choose one of {', '.join(CONVENTIONS)}")
    return scales[convention]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
