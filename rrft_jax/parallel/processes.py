"""Several processes as one run: who writes, what the others know, and arrays whose rows lie on several hosts.

Everything here is the identity when there is one process. `exchange` and what is built on it are collectives: every
process must call them in the same order, and never from a prefetch thread.
"""

import os
import pickle
import sys
from collections.abc import Callable
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


class ElsewhereError(RuntimeError):
    """Another process failed, and reports it."""


def exchange(value: T) -> list[T]:
    """The values of all processes, in order of their numbers. Values are pickled, so any of the program's own types."""
    if jax.process_count() == 1:
        return [value]
    mine = np.frombuffer(pickle.dumps(value), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(len(mine))).reshape(-1)
    # A power of two: every length of its own would be a program of its own.
    padded = np.zeros(max(4096, 1 << (int(lengths.max()) - 1).bit_length()), np.uint8)
    padded[: len(mine)] = mine
    everyone = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(lengths), -1)
    return [pickle.loads(row[:n].tobytes()) for row, n in zip(everyone, lengths.tolist(), strict=True)]


def together(function: Callable[[], T]) -> T:
    """function() on every process, none of which goes on where one fails: the first that failed raises its error, the
    others raise ElsewhereError. `function` must hold no collective.
    """
    value = error = None
    try:
        value = function()
    except (ValueError, OSError, RuntimeError) as caught:
        error = caught
    if jax.process_count() == 1:
        if error is not None:
            raise error
        return value
    reasons = exchange(None if error is None else str(error))
    failed = [number for number, reason in enumerate(reasons) if reason is not None]
    if not failed:
        return value
    if failed[0] == jax.process_index():
        raise error
    raise ElsewhereError(f"process {failed[0]} failed: {reasons[failed[0]]}")


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

    def one(x: Any) -> np.ndarray | None:
        full = x
        if not (getattr(x, "is_fully_addressable", True) or x.is_fully_replicated):
            everywhere = jax.sharding.NamedSharding(x.sharding.mesh, jax.sharding.PartitionSpec())
            full = jax.jit(lambda y: y, out_shardings=everywhere)(x)
        return np.asarray(full) if is_writer() else None

    return jax.tree.map(one, tree)


def who() -> str:
    """ "process 1: " in a process that is not the first."""
    return f"process {jax.process_index()}: " if _joined() and not is_writer() else ""


def is_loss(error: BaseException) -> bool:
    """Whether an error of the runtime is what a process sees when another one is gone."""
    return _joined() and isinstance(error, jax.errors.JaxRuntimeError)


def _joined() -> bool:
    # Asked first, since jax.process_index() would start the devices, also after an error before that.
    return jax.distributed.is_initialized()


def leave(code: int) -> int:
    """For the end of a main program that failed: `code`, but where there are other processes it ends this one at once,
    since an orderly end would wait for them."""
    if _joined():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
