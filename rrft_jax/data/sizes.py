"""Sizes of pictures in pixels, and the size that a picture is given before a model sees it."""

import math

SIDE = 28  # pixels a side of a visual token: 14 of a patch, 2 patches a side
MIN_PIXELS, MAX_PIXELS = 3136, 12_845_056  # the limits of Qwen2-VL's own image processor


def resized(height: int, width: int, side: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """(height, width) that a picture is given: near multiples of `side`, the pixels of a visual token, with an area
    between the limits, as `smart_resize` of Qwen's image processors in transformers has it.

    Raises ValueError for a picture more than 200 times longer than wide.
    """
    longer = max(height, width) / min(height, width)
    if longer > 200:
        raise ValueError(f"it is {longer:.0f} times longer than wide, and 200 is the most")
    near = round(height / side) * side, round(width / side) * side
    if math.prod(near) > max_pixels:
        factor = math.sqrt(height * width / max_pixels)
        return max(side, int(height / factor / side) * side), max(side, int(width / factor / side) * side)
    if math.prod(near) < min_pixels:
        factor = math.sqrt(min_pixels / (height * width))
        return math.ceil(height * factor / side) * side, math.ceil(width * factor / side) * side
    return near
