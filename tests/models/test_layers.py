"""Attention in parts is attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.models.qwen2_vl.layers import attend, attend_in_parts
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
        inputs = (q, k, v, *prefix)
        return quick_jit(lambda *x: (attended(*x), jax.grad(total, tuple(range(len(x))))(*x)))(*inputs)

    ours = values_and_gradients(lambda *x: attend_in_parts(*x, most=most))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(values_and_gradients(attend)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)
