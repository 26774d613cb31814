"""Rounding at random: exact on average, and an optimizer on bfloat16 that follows the one on float32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rrft_jax.training.rounding import rounded, rounding


def test_a_number_is_rounded_to_its_neighbours_and_to_itself_on_average():
    x = np.float32([1.001, -3.3, 1e-30, 65500.0, 1.0, -0.0, np.inf, np.nan])
    keys = jax.random.split(jax.random.key(0), 4096)
    found = np.asarray(jax.jit(jax.vmap(lambda key: rounded(key, x)))(keys).astype(jnp.float32), np.float64)
    np.testing.assert_array_equal(found[:, 4:], np.broadcast_to(x[4:], found[:, 4:].shape))
    bits = x[:4].view(np.uint32) & 0xFFFF0000
    low, high = (np.float64(b.astype(np.uint32).view(np.float32)) for b in (bits, bits + 0x10000))
    assert (np.isclose(found[:, :4], low, rtol=0) | np.isclose(found[:, :4], high, rtol=0)).all()
    share = (found[:, :4] == high).mean(0)
    np.testing.assert_allclose(share, (x[:4] - low) / (high - low), atol=4 * 0.5 / 64)  # four standard deviations


def test_small_steps_arrive_and_squares_decay():
    """2,000 steps of 1/2000 of a bfloat16's spacing: the nearest would stay. And Adam's averages of squares, which
    nearest rounding never lets decay."""
    params = {"kernel": jnp.ones((64, 64), jnp.bfloat16)}
    optimizer = rounding(optax.sgd(1.0))
    gradient = jax.tree.map(lambda x: jnp.full(x.shape, -(2.0**-7) / 2000), params)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    (after, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, None, 2000))((params, optimizer.init(params)))
    assert after["kernel"].dtype == jnp.bfloat16
    assert abs(float(after["kernel"].astype(jnp.float32).mean()) - (1 + 2.0**-7)) < 2.0**-7 * 0.1

    adam = optax.adamw(1e-3, 0.9, 0.999)
    state = [rounding(adam).init(params), adam.init(jax.tree.map(jnp.float32, params))]
    assert state[0].inner[0].nu["kernel"].dtype == jnp.bfloat16
    wide = jax.tree.map(jnp.float32, params)

    def decay(carry, g):
        (narrow, kept), (wide, exact) = carry
        out = []
        for p, s, o in ((narrow, kept, rounding(adam)), (wide, exact, adam)):
            updates, s = o.update({"kernel": jnp.full((64, 64), g)}, s, p)
            out.append((optax.apply_updates(p, updates), s))
        return tuple(out), None

    gradients = jnp.where(jnp.arange(600) == 0, 1.0, 1e-3)
    carry = ((params, state[0]), (wide, state[1]))
    ((narrow, kept), (wide, exact)), _ = jax.jit(lambda c: jax.lax.scan(decay, c, gradients))(carry)
    nu = kept.inner[0].nu["kernel"].astype(jnp.float32).mean()
    np.testing.assert_allclose(nu, exact[0].nu["kernel"].mean(), rtol=0.02)
    np.testing.assert_allclose(narrow["kernel"].astype(jnp.float32).mean(), wide["kernel"].mean(), atol=0.003)


def test_float32_is_left_alone():
    params = {"kernel": jnp.linspace(-1, 1, 12).reshape(3, 4)}
    gradient = jax.tree.map(jnp.sin, params)
    for inner in (optax.adamw(1e-2), optax.sgd(0.1)):
        ours, theirs = (o.update(gradient, o.init(params), params)[0] for o in (rounding(inner), inner))
        np.testing.assert_array_equal(ours["kernel"], theirs["kernel"])
