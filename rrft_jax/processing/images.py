"""Pixels to patches. HuggingFace's own image processor does the arithmetic, so the values are bit-identical to it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from rrft_jax.data.decoding import open_image
from rrft_jax.models.positions import Grid


def shrunk(height: int, width: int, limit: int) -> tuple[int, int]:
    """(height, width) of an image reduced to an area of `limit` pixels, as LLaMA-Factory rounds it; 0: as it is."""
    if not limit or height * width <= limit:
        return height, width
    factor = math.sqrt(limit / (width * height))
    return int(height * factor), int(width * factor)


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


def image_grid(images: Any, height: int, width: int, nearest_pixels: int = 0) -> Grid:
    """(1, rows, columns) of patches an image of this size in pixels will have after resizing.

    images: HuggingFace's image processor. nearest_pixels: see `image_patches`. Raises ValueError as `resized` does.
    """
    try:
        h, w = resized(
            *shrunk(height, width, nearest_pixels), images.patch_size * images.merge_size, images.size["shortest_edge"],
            images.size["longest_edge"],
        )  # fmt: skip
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"image of {height}x{width} pixels cannot be resized ({error}); crop it") from error
    return 1, h // images.patch_size, w // images.patch_size


def image_patches(images: Any, image: Any, nearest_pixels: int = 0) -> tuple[np.ndarray, Grid]:
    """float32[n, W] patches of one image in merge order, each of W numbers, and its grid.

    images: HuggingFace's image processor. nearest_pixels: a larger image is first reduced to this area, every pixel
    taken from its nearest neighbour, and what comes then (bicubic) starts from there: LLaMA-Factory's
    `image_resolution`. 0: not. Raises ValueError where the processor resizes otherwise than `resized`.
    """
    opened = open_image(image)
    grid = image_grid(images, opened.height, opened.width, nearest_pixels)  # refuses impossible shapes with their size
    height, width = shrunk(opened.height, opened.width, nearest_pixels)
    if (width, height) != opened.size:
        opened = opened.resize((width, height), Image.Resampling.NEAREST)
    out = images(images=[opened])
    if (made := tuple(int(x) for x in out["image_grid_thw"][0])) != grid:
        raise ValueError(f"{type(images).__name__} makes patches {made} of a picture that should give {grid}")
    return out["pixel_values"], grid


def video_patches(images: Any, frames: Sequence) -> tuple[np.ndarray, Grid]:
    """float32[t * n, W] patches of a video, frame pair after frame pair, and its grid.

    Every frame is resized like an image. An odd last frame is paired with itself, as transformers pads videos.
    """
    opened = [open_image(frame) for frame in frames]
    if len({frame.size for frame in opened}) != 1:
        raise ValueError(f"a video needs one or more frames of one size, got {sorted({f.size for f in opened})}")
    pair = images.temporal_patch_size
    opened += opened[-1:] * (-len(opened) % pair)
    done = [image_patches(images, frame) for frame in opened]
    _, h, w = done[0][1]
    # An image's patch repeats its pixels once per frame of the pair [n, 3, pair, h, w]: keep one, join two frames.
    single = np.stack([patches.reshape(h * w, 3, pair, -1)[:, :, 0] for patches, _ in done])
    t = len(done) // pair
    joined = single.reshape(t, pair, h * w, 3, -1).transpose(0, 2, 3, 1, 4)
    return joined.reshape(t * h * w, -1), (t, h, w)
