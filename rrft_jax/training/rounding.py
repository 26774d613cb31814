"""Optimizers on parameters of 16 bits, which round at random: what is too small to change a number does so sometimes.

A bfloat16 has 8 bits of precision: an update of less than 1/512 of a number, and one of Adam's averages of squares that
moves by 1/1000 a step, are lost when the nearest is taken. Rounded up with a probability that is the distance to the
number below (stochastic rounding: Gupta et al., arXiv:1502.02551, section 3; of weights in language models: Zamirai et
al., arXiv:2010.06192), the expected value is exact, and nothing is kept in 32 bits between updates.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, Shaped

from rrft_jax.arrays import HostOrDevice


def rounded(key: Key[Array, ""], x: Float[HostOrDevice, "*shape"]) -> Float[Array, "*shape"]:
    """Float32 numbers as bfloat16, each up or down with a probability that makes its expected value exact. What
    bfloat16 holds stays as it is, and so do infinities and NaN."""
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    bits = bits + (_noise(key, x.shape) >> 16)
    down = jax.lax.bitcast_convert_type(bits & jnp.uint32(0xFFFF0000), jnp.float32)
    return jnp.where(jnp.isfinite(x), down, x).astype(jnp.bfloat16)


def _noise(key: Key[Array, ""], shape: tuple[int, ...]) -> Shaped[Array, "*shape"]:
    """Random uint32, each a hash of its place: elementwise, so that the compiler makes it where it is read, while the
    bits of `jax.random` would be arrays larger than the parameters."""
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    place = jnp.zeros(shape, jnp.uint32)
    for axis, length in enumerate(shape):
        place = place * jnp.uint32(length) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    return _mixed(_mixed(place ^ first) + second)


def _mixed(x: Shaped[HostOrDevice, "*shape"]) -> Shaped[Array, "*shape"]:
    """The finalizer of MurmurHash3 for 32 bits (A. Appleby): every bit of the result depends on every bit of x."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> shift)) * jnp.uint32(factor)
    return x ^ (x >> 16)


class RoundedState(NamedTuple):
    count: jax.Array
    inner: Any


def rounding(inner: optax.GradientTransformation, seed: int = 0) -> optax.GradientTransformation:
    """`inner` in float32 on parameters that may be bfloat16: its state is kept as `inner.init` makes it for them, and
    what it keeps in bfloat16, and the parameters themselves, are rounded at random.

    Where all are float32 it is `inner`. The updates are float32 differences of two bfloat16 numbers: added to the
    parameters, they give the rounded ones. Random bits are addressed by (seed, number of the update, leaf).
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, RoundedState]:
        key, number = jax.random.fold_in(jax.random.key(seed), state.count), itertools.count()

        def as_before(new: Any, old: Any) -> Any:
            narrow = old.dtype == jnp.bfloat16 and new.dtype != jnp.bfloat16
            return rounded(jax.random.fold_in(key, next(number)), new) if narrow else new

        wide = jax.tree.map(_widened, params)
        updates, kept = inner.update(jax.tree.map(_widened, updates), jax.tree.map(_widened, state.inner), wide)
        kept = jax.tree.map(as_before, kept, state.inner)

        def step(update: Any, old: Any, value: Any) -> Any:
            return _widened(as_before(value + update, old)) - value if old.dtype == jnp.bfloat16 else update

        return jax.tree.map(step, updates, params, wide), RoundedState(state.count + 1, kept)

    def init(params: Any) -> RoundedState:
        return RoundedState(jnp.zeros((), jnp.int32), inner.init(params))

    return optax.GradientTransformation(init, update)


def _widened(x: Any) -> Any:
    return x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x
