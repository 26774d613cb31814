"""The machine's matmul and copy rates, and the time of a program."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def seconds(program: Callable, *args, repeats: int = 3, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median time of a jitted program that consumes nothing, by `clock`; the first call is not counted."""
    jax.block_until_ready(program(*args))
    times = []
    for _ in range(repeats):
        begin = clock()
        jax.block_until_ready(program(*args))
        times.append(clock() - begin)
    return float(np.median(times))


def matmul_rate(size: int = 2048, dtype=jnp.float32, clock: Callable[[], float] = time.perf_counter) -> float:
    """FLOPs a second of a size x size x size product, at the precision the models ask for."""
    from rrft_jax.models.layers import matmul_precision

    x = jax.random.normal(jax.random.key(0), (size, size), dtype)  # a GPU clocks higher where no bit ever changes
    product = jax.jit(lambda a, b: jnp.dot(a, b, precision=matmul_precision(jnp.dtype(dtype))))
    return 2 * size**3 / seconds(product, x, x, repeats=5, clock=clock)


def copy_rate(size: int = 2**28, clock: Callable[[], float] = time.perf_counter) -> float:
    """Bytes a second, read and written together, of x + 1 over `size` bytes in place."""
    x, times = jnp.zeros(size // 4, jnp.float32), 8
    program = jax.jit(lambda x: jax.lax.fori_loop(0, times, lambda _, x: x + 1, x))
    return 2 * size * times / seconds(program, x, clock=clock)
