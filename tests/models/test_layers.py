"""Attention in parts is attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.models.qwen2_vl.layers import attend, attend_in_parts
from tests.models.build import quick_jit


@pytest.mark.parametrize("most", [3, 4, 10], ids=["uneven", "even", "one"])
def test_attention_in_parts_has_the_same_values_and_gradients(most):
    rng = np.random.default_rng(0)
    shapes = ((2, 1, 8, 4, 6), (2, 1, 2, 8, 6), (2, 1, 2, 8, 6))  # q [B, G, T, H, A], k and v [B, G, K, S, A]
    qkv = [jnp.asarray(rng.normal(size=s).astype(np.float32)) for s in shapes]
    mask = jnp.asarray(rng.random((2, 1, 1, 8)) < 0.7)
    weights = jnp.asarray(rng.normal(size=shapes[0]).astype(np.float32))

    def values_and_gradients(attention):
        total = lambda *x: (attention(*x, mask) * weights).sum()  # noqa: E731
        return quick_jit(lambda *x: (attention(*x, mask), jax.grad(total, (0, 1, 2))(*x)))(*qkv)

    ours = values_and_gradients(lambda *x: attend_in_parts(*x, most))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(values_and_gradients(attend)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
