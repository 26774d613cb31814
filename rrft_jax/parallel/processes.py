"""Several processes as one run: who writes, what the others know, and arrays whose rows lie on several hosts.

Everything here is the identity when there is one process. `exchange` and what is built on it are collectives: every
process must call them in the same order, and never from a prefetch thread.
"""

import pickle
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

T = TypeVar("T")


def is_writer() -> bool:
    """Process 0 writes logs, metrics, completions and the config; checkpoints are written by all."""
    return jax.process_index() == 0


def say(text: str) -> None:
    """Prints, once for all processes."""
    if is_writer():
        print(text, flush=True)


def exchange(value: T) -> list[T]:
    """The values of all processes, in order of their numbers. Values are pickled, so any of the program's own types."""
    if jax.process_count() == 1:
        return [value]
    mine = np.frombuffer(pickle.dumps(value), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(len(mine))).reshape(-1)
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: len(mine)] = mine
    everyone = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(lengths), -1)
    return [pickle.loads(row[:n].tobytes()) for row, n in zip(everyone, lengths.tolist(), strict=True)]


def local_rows(x: Any, rows: np.ndarray) -> np.ndarray:
    """Rows (axis 0) of a device array that this process's devices hold, as numpy."""
    if getattr(x, "is_fully_addressable", True):
        return np.asarray(x)[rows]
    out = np.empty(x.shape, x.dtype)  # rows that lie elsewhere stay undefined
    for shard in x.addressable_shards:
        out[shard.index] = np.asarray(shard.data)
    return out[rows]


def whole_tree(tree: Any) -> Any:
    """A tree of arrays sharded over processes as numpy arrays, one leaf after the other; None in all but process 0."""

    def one(x: jax.Array) -> np.ndarray | None:
        if x.is_fully_addressable or x.is_fully_replicated:
            full = x
        else:
            everywhere = jax.sharding.NamedSharding(x.sharding.mesh, jax.sharding.PartitionSpec())
            full = jax.jit(lambda y: y, out_shardings=everywhere)(x)
        return np.asarray(full) if is_writer() else None

    return jax.tree.map(one, tree)
