"""Several processes as one run: who writes, what the others know, and arrays whose rows lie on several hosts.

Everything here is the identity when there is one process. `exchange` and what is built on it are collectives: every
process must call them in the same order, and never from a prefetch thread.
"""

import functools
import math
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

T = TypeVar("T")
PIECE = 2**26  # elements of an array that come together on every device at a time
# Status codes of the runtime for a program that is wrong or too large for its devices: nobody else's fault.
OWN = ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNIMPLEMENTED", "NOT_FOUND")


def require_devices() -> None:
    """ValueError in one line where JAX_PLATFORMS names a kind of device that cannot be used here."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        wanted = os.environ.get("JAX_PLATFORMS", "")
        reason = (str(error).strip().splitlines() or ["there is none here"])[0]
        raise ValueError(
            f"JAX_PLATFORMS={wanted}: no such device can be used ({reason}): unset it to take what there is, or "
            "install its libraries (pip install -e '.[cuda]' or '.[tpu]')"
        ) from None


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
    """function() on every process, none of which continues where one fails: the first that failed raises its error, the
    others raise ElsewhereError. `function` must hold no collective.
    """
    if jax.process_count() == 1:
        return function()
    values: list[T] = []
    error = None
    try:
        values.append(function())
    except (ValueError, OSError, RuntimeError) as caught:
        error = caught
    reasons = exchange(None if error is None else str(error))
    failed = [number for number, reason in enumerate(reasons) if reason is not None]
    if not failed:
        return values[0]
    if error is not None and failed[0] == jax.process_index():
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


def whole(x: Any, layer: int | None = None) -> np.ndarray | None:
    """x, or x[layer], as numpy; None in all but process 0. A collective where x is split over devices.

    A large array comes together PIECE elements at a time, since every device holds the piece for a moment. Nothing is
    kept: numpy's view of an array would live as long as the array itself.
    """
    if not isinstance(x, jax.Array) or [d.platform for d in x.devices()] == ["cpu"]:  # on the host already
        return np.asarray(x)[... if layer is None else layer] if is_writer() else None
    shape = x.shape[layer is not None :]
    rows = shape[0] if shape else 1
    count = max(1, min(rows, PIECE * rows // math.prod(shape)))
    gather = _gather(_everywhere(x), layer is not None, count)
    out = np.empty((rows, *shape[1:]) if is_writer() else 0, x.dtype)
    for low in range(0, rows, count):
        low = min(low, rows - count)
        piece = gather(x, layer or 0, low).block_until_ready()  # or the other processes would run far ahead
        if is_writer():
            out[low : low + count] = piece
    return out.reshape(shape) if is_writer() else None


def _everywhere(x: jax.Array) -> jax.sharding.Sharding:
    return NamedSharding(x.sharding.mesh, PartitionSpec()) if isinstance(x.sharding, NamedSharding) else x.sharding


@functools.cache
def _gather(everywhere: jax.sharding.Sharding, layered: bool, count: int) -> Callable[..., jax.Array]:
    """(x, layer, low) -> `count` rows of x, or of x[layer], from row `low` on, on every device; compiles per shape."""

    def take(x: jax.Array, layer: jax.Array, low: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(jnp.atleast_1d(x[layer] if layered else x), low, count)

    return jax.jit(take, out_shardings=everywhere)


def who() -> str:
    """ "process 1: " in a process that is not the first."""
    return f"process {jax.process_index()}: " if _joined() and not is_writer() else ""


def is_loss(error: BaseException) -> bool:
    """Whether an error of the runtime is what a process sees when another one is gone."""
    return _joined() and isinstance(error, jax.errors.JaxRuntimeError) and not any(code in str(error) for code in OWN)


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
