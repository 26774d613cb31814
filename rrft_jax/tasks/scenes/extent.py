"""Where an object of a scene is seen: its box and its pixels, whatever stands in front of it."""

import numpy as np

from rrft_jax.tasks.scenes.camera import Camera
from rrft_jax.tasks.scenes.render import object_layer
from rrft_jax.tasks.scenes.things import Thing


def outline(thing: Thing, camera: Camera, height: int, width: int) -> np.ndarray:
    """bool[height, width]: the pixels of which the object covers half or more. Glass is seen as solid."""
    rows, columns, layer = object_layer(thing, camera, height, width)
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = layer[3] >= (0.5 if thing.material != "glass" else 0.15)
    return mask


def box_of(mask: np.ndarray) -> list[int]:
    """[x1, y1, x2, y2] around the pixels of a mask, edges in pixels from the top left corner."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1]


def spans(mask: np.ndarray) -> list[list[int]]:
    """A mask as plain numbers: [y, x1, x2] for every run of pixels x1 to before x2 of row y."""
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)
    ys, edges = np.nonzero(np.diff(padded, axis=1))
    return [[int(y), int(a), int(b)] for y, a, b in zip(ys[::2], edges[::2], edges[1::2], strict=True)]


def from_spans(runs: list[list[int]], height: int, width: int) -> np.ndarray:
    """bool[height, width]: the mask of `spans`."""
    mask = np.zeros((height, width), bool)
    for y, start, end in runs:
        mask[y, start:end] = True
    return mask
