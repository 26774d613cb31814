"""Checksums of arrays that are the same however devices and processes share them.

The checksum of an array is the sum, modulo 2**64, of a hash of every element's bits and place. A sum can be taken in
any parts, so each process takes its own shards, a run is verified on another mesh than the one that wrote it, and
nothing is copied. One changed element always changes the sum, since the hash is one to one; further changes cancel
with probability 2**-64. It finds damage, not tampering.
"""

import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from rrft_jax.parallel.processes import all_gather_objects, is_writer

BLOCK = 2**15  # elements at a time: what is made of them stays in a core's cache
THREADS = 8
# The multipliers of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
_PLACE, _FIRST, _SECOND = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def checksums(flat: Mapping[str, Any]) -> dict[str, str]:
    """'float32[300, 1000] 0123456789abcdef' by path, of whole arrays; a collective.

    flat: jax arrays, of which each process holds its shards, or numpy arrays, which are the same in all processes.
    """
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads:
        sums = dict(zip(flat, threads.map(_local_sum, flat.values()), strict=True))
    everyone = all_gather_objects(sums)
    return {
        name: f"{array_form(leaf.shape, leaf.dtype)} {sum(one[name] for one in everyone) % 2**64:016x}"
        for name, leaf in flat.items()
    }


def array_form(shape: tuple[int, ...], dtype: Any) -> str:
    return f"{np.dtype(dtype).name}{list(shape)}"


def _local_sum(leaf: Any) -> int:
    return sum(_sum(part, index, leaf.shape) for index, part in _parts(leaf))


def _parts(leaf: Any) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """The parts of an array that this process counts, and where they lie: each element once among all processes."""
    if not isinstance(leaf, jax.Array):
        if is_writer():
            yield (slice(None),) * leaf.ndim, leaf
        return
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            # A second array of the same buffer: numpy's copy of a device's memory lives as long as the jax array does.
            alias = jax.make_array_from_single_device_arrays(shard.data.shape, shard.data.sharding, [shard.data])
            yield shard.index, np.asarray(alias)


def _sum(part: np.ndarray, index: tuple[slice, ...], shape: tuple[int, ...]) -> int:
    """Sum of the hashes of a part that lies at `index` of an array of `shape`."""
    starts = [s.indices(n)[0] for s, n in zip(index, shape, strict=True)]
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    # Rows that lie together in the whole array: the trailing axes that the part has whole, and the one before them.
    axis = len(shape)
    while axis and part.shape[axis - 1] == shape[axis - 1]:
        axis -= 1
    outer = part.shape[: max(axis - 1, 0)]
    rows = np.ascontiguousarray(part).reshape(math.prod(outer), -1).view(f"u{part.dtype.itemsize}")
    first = sum(start * stride for start, stride in zip(starts, strides, strict=True))
    columns = np.arange(min(rows.shape[1], BLOCK), dtype=np.uint64) * _PLACE
    at_a_time, total = max(1, BLOCK // max(1, rows.shape[1])), 0
    for top in range(0, rows.shape[0], at_a_time):
        block = rows[top : top + at_a_time]
        place = np.full((len(block), 1), first, np.uint64)
        for i, stride in zip(np.unravel_index(np.arange(top, top + len(block)), outer or (1,)), strides, strict=False):
            place += i.astype(np.uint64)[:, None] * np.uint64(stride)
        for left in range(0, rows.shape[1], BLOCK):
            bits = block[:, left : left + BLOCK]
            total += _block_sum((place + np.uint64(left)) * _PLACE + columns[: bits.shape[1]], bits)
    return total % 2**64


def _block_sum(hashed: np.ndarray, bits: np.ndarray) -> int:
    """hashed: uint64, the place of each element times _PLACE, overwritten; bits: unsigned integers."""
    hashed ^= bits
    hashed *= _FIRST
    hashed ^= hashed >> np.uint64(29)
    hashed *= _SECOND
    return int(hashed.sum(dtype=np.uint64))
