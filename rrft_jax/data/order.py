"""Which examples batch t holds: a pure function of (seed, t), the same on every host, device count and resume.

Every bucket k with N_k examples has an endless stream: a permutation of its examples for epoch 0, then one for
epoch 1, and so on. Batch j of the bucket takes stream places j*B ... j*B + B - 1, so each example comes exactly once
per epoch of its bucket, none is dropped, and the places left in an epoch's last batch are filled from the
next epoch's permutation. Where N_k < B one batch spans several epochs; prompt ids stay distinct all the same.

A batch belongs to the epoch of its first place, so bucket k has ceil((e+1) N_k/B) - ceil(e N_k/B) batches in epoch e
and the number of batches before an epoch has a closed form: that is what makes any t directly addressable. Within an
epoch the buckets take turns in a seeded random order, while each bucket's own stream is read in order.

Permutations sort raw Philox words rather than call `Generator.permutation`: numpy promises the former to stay the
same in later versions, not the latter.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_STREAM, _TURNS = 0, 1


@dataclass(frozen=True)
class BatchIds:
    """The content of one batch: B examples of one bucket, and the epoch the batch is counted in."""

    bucket: int
    indices: np.ndarray  # int64[B], into all examples of the index
    epoch: int
    prompt_ids: np.ndarray  # int32[B], epoch of the place * number of examples + index: never repeats


def batch_ids(groups: Sequence[np.ndarray], seed: int, t: int, batch_size: int) -> BatchIds:
    """Batch t >= 0 over `groups`, which lists for every bucket the indices int[N_k] of its examples (N_k may be 0)."""
    sizes = [len(g) for g in groups]
    total = sum(sizes)
    if total == 0:
        raise ValueError("there is no example to draw batches from")
    if batch_size < 1 or t < 0:
        raise ValueError(f"batch size {batch_size} must be positive and batch number {t} not negative")

    epoch = epoch_of(sizes, t, batch_size)
    starts = [_ceil_div(epoch * n, batch_size) for n in sizes]
    counts = [_ceil_div((epoch + 1) * n, batch_size) - s for n, s in zip(sizes, starts, strict=True)]
    turns = np.repeat(np.arange(len(groups)), counts)
    turns = turns[_permutation(len(turns), seed, _TURNS, epoch, 0)]
    turn = t - sum(starts)
    bucket = int(turns[turn])
    batch = starts[bucket] + int(np.count_nonzero(turns[:turn] == bucket))

    places = np.arange(batch * batch_size, (batch + 1) * batch_size)
    epochs, offsets = np.divmod(places, sizes[bucket])
    indices = np.empty(batch_size, np.int64)
    for e in np.unique(epochs):
        here = epochs == e
        shuffled = _permutation(sizes[bucket], seed, _STREAM, int(e), bucket)
        indices[here] = np.asarray(groups[bucket])[shuffled[offsets[here]]]
    ids = epochs * total + indices
    if (int(epochs[-1]) + 1) * total > np.iinfo(np.int32).max:
        raise OverflowError(f"epoch {epochs[-1]} of {total} examples needs prompt ids beyond int32; train for fewer")
    return BatchIds(bucket, indices, epoch, ids.astype(np.int32))


def epoch_start(sizes: Sequence[int], epoch: int, batch_size: int) -> int:
    """The number of batches before `epoch`: over buckets of `sizes` examples, sum of ceil(epoch * N_k / B)."""
    return sum(_ceil_div(epoch * n, batch_size) for n in sizes)


def epoch_of(sizes: Sequence[int], t: int, batch_size: int) -> int:
    """The epoch that batch t is counted in: the last one that starts at or before t."""
    # e N / B <= epoch_start(e) < e N / B + buckets brackets the answer; epoch_start never falls.
    total = sum(sizes)
    low = max(0, (t - len(sizes)) * batch_size // total)
    high = t * batch_size // total + 1
    epochs = range(low, high + 1)
    return low + bisect_right(epochs, t, key=lambda e: epoch_start(sizes, e, batch_size)) - 1


def epochs_passed(sizes: Sequence[int], t: int, batch_size: int) -> float:
    """How often the first t batches have been through the data: whole at the start of every epoch, straight between."""
    epoch = epoch_of(sizes, t, batch_size)
    start, end = (epoch_start(sizes, e, batch_size) for e in (epoch, epoch + 1))
    return epoch + (t - start) / (end - start)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _permutation(n: int, *address: int) -> np.ndarray:
    """int64[n], a permutation of range(n) that depends on nothing but the address."""
    words = np.random.Philox(np.random.SeedSequence(address)).random_raw(n)
    return np.argsort(words, kind="stable")
