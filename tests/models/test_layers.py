"""Dense layers check their shapes, and their product has a plain one's gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.models.layers import Dense, flat_dot
from tests.helpers.rounding import assert_same_but_rounding, rounding


@pytest.mark.parametrize("shape", [(5, 4, 12), (5, 12, 3)], ids=["x is narrower", "y is narrower"])
@pytest.mark.parametrize("remat", [False, True])
def test_the_gradients_of_a_product_are_those_of_numpy(shape, remat):
    N, D, F = shape
    rng = np.random.default_rng(0)
    x, w, dy = (rng.normal(size=s).astype(np.float32) for s in ((2, N, D), (D, F), (2, N, F)))
    function = jax.checkpoint(flat_dot, policy=jax.checkpoint_policies.dots_saveable) if remat else flat_dot

    @jax.jit
    def product_and_gradients(x, w, dy):
        y, pull = jax.vjp(function, x, w)
        return y, *pull(dy)

    expected = x @ w, dy @ w.T, x.reshape(-1, D).T @ dy.reshape(-1, F)
    slack = rounding(product_and_gradients, x, w, dy)
    assert_same_but_rounding(product_and_gradients(x, w, dy), expected, slack)


def _layers(x, kernels, scales):
    body = lambda x, layer: (jnp.tanh(flat_dot(x * layer[1], layer[0])), None)  # noqa: E731
    return jax.lax.scan(body, x, (kernels, scales))[0].sum()


def test_a_frozen_kernel_keeps_no_input_and_a_saved_product_is_not_made_again():
    x, kernels, scales = jnp.ones((7, 8)), jnp.ones((3, 8, 8)), jnp.ones(3)
    frozen = str(jax.make_jaxpr(jax.grad(_layers, 2))(x, kernels, scales))
    # Forward and backward product; the gradient of the kernels is the only one that would want x in another order.
    assert frozen.count("dot_general[") == 2 and "optimization_barrier" not in frozen
    saved = jax.checkpoint(flat_dot, policy=jax.checkpoint_policies.dots_saveable)
    products = [
        str(jax.make_jaxpr(jax.grad(lambda x, w, dot=dot: jnp.sin(dot(x, w)).sum(), (0, 1)))(x, kernels[0]))
        for dot in (jnp.dot, saved)
    ]
    # The product and its two gradients; the kernel's has two forms, one of them for a CPU.
    assert [text.count("dot_general[") for text in products] == [3, 4]


def test_other_platforms_contract_the_gradient_in_place():
    x, w = jnp.ones((64, 8)), jnp.ones((8, 8))
    gradient = jax.jit(jax.grad(lambda w: flat_dot(x, w).sum()))
    text = {p: gradient.trace(w).lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "tpu")}
    assert "optimization_barrier" in text["cpu"] and "optimization_barrier" not in text["tpu"]


def test_a_parameter_of_another_shape_is_refused():
    x, dense = jnp.ones((2, 3)), Dense(4)
    params = dense.init(jax.random.key(0), x)["params"]
    for name, wrong in (("bias", (1,)), ("kernel", (3, 1))):  # either would be broadcast
        with pytest.raises(ValueError, match=rf"Dense: parameter {name} has shape \({wrong[0]},"):
            dense.apply({"params": {**params, name: jnp.ones(wrong)}}, x)
