"""Attention with a backward pass of its own is `attend`: values, gradients, and what is computed again for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.models.dense_attention import attend, attend_in_parts
from rrft_jax.models.language import REMAT_POLICIES
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import quick_jit


@pytest.mark.parametrize("kind", ["picture", "prompt", "members"])
@pytest.mark.parametrize("most", [3, 4, 10], ids=["uneven", "even", "one"])
def test_attention_in_parts_has_the_same_values_and_gradients(most, kind):
    """picture: one mask for all queries. prompt: a causal one. members: G of them, after a prompt of their own."""
    rng = np.random.default_rng(0)
    G = 3 if kind == "members" else 1
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape).astype(np.float32))  # noqa: E731
    q, k, v = draw(2, G, 8, 4, 6), draw(2, G, 2, 8, 6), draw(2, G, 2, 8, 6)  # [B, G, T, H, A], [B, G, K, S, A]
    known = jnp.asarray(rng.random((2, G, 1, 8)) < 0.7)
    mask = known if kind == "picture" else known & jnp.tril(jnp.ones((8, 8), bool))
    prefix = (draw(2, 2, 5, 6), draw(2, 2, 5, 6)) if kind == "members" else ()
    seen = jnp.asarray(rng.random((2, 5)) < 0.7)
    weights = draw(*q.shape)

    def values_and_gradients(attention):
        def attended(q, k, v, *prefix):
            return attention(q, k, v, mask, (*prefix, seen) if prefix else None)

        total = lambda *x: (attended(*x) * weights).sum()  # noqa: E731
        return quick_jit(lambda *x: (attended(*x), jax.grad(total, tuple(range(len(x))))(*x)))

    inputs, expected = (q, k, v, *prefix), values_and_gradients(attend)
    ours = values_and_gradients(lambda *x: attend_in_parts(*x, most=most))(*inputs)
    assert_same_but_rounding(ours, expected(*inputs), rounding(expected, *inputs))


def draw(*shape, seed=0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32), dtype)


@pytest.mark.parametrize("most", [3, 8], ids=["parts", "one"])
def test_a_query_that_sees_no_key_has_a_value_and_no_gradient(most):
    q, k, v, weights = (draw(1, 1, 8, 2, 4, seed=0), *(draw(1, 1, 2, 8, 4, seed=n) for n in (1, 2)), draw(8, seed=3))
    blind = jnp.arange(8) < 3
    mask = jnp.ones((8, 8), bool) & ~blind[:, None]

    def total(q, k, v, weights):
        return (attend_in_parts(q, k, v, mask[None, None], most=most).sum((0, 1, 3, 4)) * weights).sum()

    assert np.isfinite(total(q, k, v, weights))
    every, seeing = (quick_jit(jax.grad(total, (0, 1, 2)))(q, k, v, w) for w in (weights, weights * ~blind))
    jax.tree.map(np.testing.assert_array_equal, every, seeing)
    assert not every[0][:, :, :3].any() and every[0][:, :, 3:].any() and every[2].any()


def test_gradients_in_bfloat16_are_near_those_in_float32():
    shapes = ((2, 3, 8, 4, 16), (2, 3, 2, 8, 16), (2, 3, 2, 8, 16), (2, 2, 5, 16), (2, 2, 5, 16))
    mask = jnp.tril(jnp.ones((8, 8), bool))[None, None]

    def gradients(dtype):
        arrays = [draw(*shape, seed=n, dtype=dtype) for n, shape in enumerate(shapes)]
        attended = lambda q, k, v, *prefix: attend_in_parts(q, k, v, mask, (*prefix, jnp.ones((2, 5), bool)), most=3)  # noqa: E731
        total = lambda *x: (attended(*x).astype(jnp.float32) * draw(*shapes[0], seed=9)).sum()  # noqa: E731
        return quick_jit(jax.grad(total, tuple(range(5))))(*arrays)

    for found, wanted in zip(gradients(jnp.bfloat16), gradients(jnp.float32), strict=True):
        assert found.dtype == jnp.bfloat16
        assert np.linalg.norm(found.astype(np.float32) - wanted) < 0.02 * np.linalg.norm(wanted)


@pytest.mark.parametrize("most", [3, 8], ids=["parts", "one"])
@pytest.mark.parametrize(("policy", "products"), [("none", 7), ("dots", 7), ("full", 9)])
def test_what_the_backward_pass_computes_again(policy, products, most):
    """Forward scores and values; backward the scores again and four gradients. Only `full` attends twice, too."""
    q, k, v = draw(1, 1, 8, 2, 4), draw(1, 1, 2, 8, 4), draw(1, 1, 2, 8, 4)
    attended = lambda q, k, v: attend_in_parts(q, k, v, jnp.ones((1, 1, 1, 8), bool), most=most)  # noqa: E731
    if policy != "none":
        attended = jax.checkpoint(attended, policy=REMAT_POLICIES[policy])
    text = quick_jit(jax.grad(lambda *x: jnp.sin(attended(*x)).sum(), (0, 1, 2))).lower(q, k, v).as_text()
    assert text.count("dot_general") == products
