"""Chooses buckets from the data: few shapes, so that little is compiled, with little padding."""

from collections.abc import Sequence

import numpy as np

from rrft_jax.data.index import Bucket, PromptSize
from rrft_jax.processing.buckets import Buckets

MAX_SHAPES = 4  # shapes, each of which costs a compilation of every program
SLACK = 1.2  # more padding than this, compared with many shapes, is worth another shape
STEP = 32  # prompt tokens and patches are rounded up to its multiples


def propose(sizes: Sequence[PromptSize], buckets: Buckets, longest: int) -> tuple[Bucket, ...]:
    """At most MAX_SHAPES shapes that hold every prompt of at most `longest` tokens, smallest first.

    Lists in `buckets` stay; what is "auto" there is chosen. The algorithm merges the pair of shapes that adds the least
    padding, until there are few enough and another merger would add too much.
    """
    needs = np.array([_snapped(size, buckets) for size in sizes], np.int64).reshape(-1, 3)
    needs = needs[(needs >= 0).all(1) & (needs[:, 0] <= longest)]
    if not len(needs):
        return ()
    # A first grouping by steps of a quarter, so that the pairs stay few whatever the data are.
    _, group = np.unique(np.ceil(4 * np.log2(np.maximum(needs, 1))), axis=0, return_inverse=True)
    group = group.reshape(-1)
    shapes = np.stack([needs[group == k].max(0) for k in range(group.max() + 1)])
    counts = np.bincount(group)
    enough = SLACK * counts @ _cost(shapes)
    while len(shapes) > 1:
        merged = np.maximum(shapes[:, None], shapes[None])  # [K, K, 3]
        own = counts * _cost(shapes)
        added = (counts[:, None] + counts[None]) * _cost(merged) - own[:, None] - own[None]
        added[np.tril_indices(len(shapes))] = np.iinfo(np.int64).max
        i, j = np.unravel_index(np.argmin(added), added.shape)
        if len(shapes) <= MAX_SHAPES and own.sum() + added[i, j] > enough:
            break
        shapes[i], counts[i] = merged[i, j], counts[i] + counts[j]
        shapes, counts = np.delete(shapes, j, 0), np.delete(counts, j)
    order = np.lexsort((shapes[:, 0], _cost(shapes)))
    return tuple(dict.fromkeys(Bucket(*map(int, shapes[k])) for k in order))


def filled(sizes: Sequence[PromptSize], chosen: Sequence[Bucket]) -> float:
    """The share of the rows, in the buckets chosen for the prompts, that is not padding."""
    needs = np.array([_need(size) for size in sizes], np.int64)
    rows = np.array([(b.prompt_tokens, b.images, b.patches) for b in chosen], np.int64)
    return float(_cost(needs).sum() / _cost(rows).sum())


def _need(size: PromptSize) -> tuple[int, int, int]:
    return size.prompt_tokens, len(size.patches), max(size.patches, default=0)


def _snapped(size: PromptSize, buckets: Buckets) -> tuple[int, int, int]:
    """The smallest shape for a prompt, by the lists and by STEP; -1 where no entry of a list holds it."""
    out = []
    for need, listed, step in zip(_need(size), buckets.lists, (STEP, 1, STEP), strict=True):
        if listed is None:
            out.append(-(-need // step) * step)
        else:
            out.append(next((value for value in listed if value >= need), -1))
    return out[0], out[1], out[2] if out[1] else 0


def _cost(shapes: np.ndarray) -> np.ndarray:
    """Tokens and patches of a row, as the index orders buckets."""
    return shapes[..., 0] + shapes[..., 1] * shapes[..., 2]
