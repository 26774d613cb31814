"""Schedules at hand-worked points, and one AdamW step by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rrft_jax.config.groups import Optimizer, Schedule
from rrft_jax.models.paths import leaf_paths
from rrft_jax.training.optimizer import make_optimizer, make_schedule
from tests.rollout.reference import random_params


def schedule_config(**changes):
    fields = {"name": "constant", "peak": 0.1, "warmup_steps": 0, "warmup_ratio": 0.0, "from_zero": False}
    return Schedule(**{**fields, **changes})


def optimizer_config(**changes):
    schedule = schedule_config(**changes.pop("schedule", {}))
    fields = {"b1": 0.9, "b2": 0.99, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": float("inf")}
    return Optimizer(**{**fields, **changes, "schedule": schedule})


@pytest.mark.parametrize(
    ("name", "warmup", "points"),
    [
        ("constant", 0, {0: 8.0, 5: 8.0, 99: 8.0}),
        ("linear", 0, {0: 8.0, 5: 4.0, 9: 0.8, 10: 0.0}),
        ("cosine", 0, {0: 8.0, 5: 4.0, 10: 0.0}),
        # Warm-up is over 1/4, 2/4, 3/4 of the peak, and no update is wasted on a rate of 0.
        ("constant", 3, {0: 2.0, 1: 4.0, 2: 6.0, 3: 8.0, 9: 8.0}),
        ("linear", 3, {0: 2.0, 2: 6.0, 3: 8.0, 10: 0.0}),
        ("cosine", 2, {0: 8 / 3, 1: 16 / 3, 2: 8.0, 4: 4 + 4 * 2**-0.5, 6: 4.0, 10: 0.0}),
        ("linear", 10, {0: 8 / 11, 9: 80 / 11}),
    ],
)
def test_schedule_at_hand_worked_points(name, warmup, points):
    schedule = make_schedule(schedule_config(name=name, peak=8.0, warmup_steps=warmup), steps=10)
    for t, rate in points.items():
        np.testing.assert_allclose(schedule(t), rate, rtol=1e-6, atol=1e-6, err_msg=f"step {t}")


def one_update(config, params, gradient):
    optimizer, _ = make_optimizer(config, 10)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    return updates


def test_first_adamw_step_by_hand():
    """The first moments of Adam, debiased, are the gradient itself: the step is -lr (g / (|g| + eps) + decay p)."""
    config = optimizer_config(eps=1.0, weight_decay=0.5)
    params = {"kernel": jnp.array([2.0, -4.0]), "bias": jnp.array([2.0, -4.0])}
    gradient = {"kernel": jnp.array([3.0, -1.0]), "bias": jnp.array([3.0, -1.0])}
    updates = one_update(config, params, gradient)
    np.testing.assert_allclose(updates["bias"], [-0.1 * 3 / 4, 0.1 * 1 / 2], rtol=1e-5)
    np.testing.assert_allclose(updates["kernel"], [-0.1 * (3 / 4 + 1), 0.1 * (1 / 2 + 2)], rtol=1e-5)


def test_gradient_is_clipped_by_its_global_norm():
    params = {"kernel": jnp.zeros(1), "bias": jnp.zeros(1)}
    gradient = {"kernel": jnp.array([3.0]), "bias": jnp.array([4.0])}  # norm 5
    clipped = one_update(optimizer_config(eps=1.0, max_grad_norm=1.0), params, gradient)
    np.testing.assert_allclose([clipped["kernel"][0], clipped["bias"][0]], [-0.06 / 1.6, -0.08 / 1.8], rtol=1e-5)
    for limit in (5.0, 6.0, float("inf")):
        whole = one_update(optimizer_config(eps=1.0, max_grad_norm=limit), params, gradient)
        np.testing.assert_allclose([whole["kernel"][0], whole["bias"][0]], [-0.3 / 4, -0.4 / 5], rtol=1e-5)


def test_decay_reaches_kernels_and_embeddings_only():
    params = random_params()
    optimizer, _ = make_optimizer(optimizer_config(weight_decay=0.5), 10)
    zeros = jax.tree.map(np.zeros_like, params)
    updates = jax.jit(lambda p, g: optimizer.update(g, optimizer.init(p), p)[0])(params, zeros)
    moved = {path for path, x in leaf_paths(updates).items() if np.asarray(x).any()}
    assert moved == {path for path in leaf_paths(params) if path.endswith(("/kernel", "/embedding"))}
    kernel = lambda tree: tree["language"]["layers"]["q"]["kernel"]  # noqa: E731
    np.testing.assert_allclose(kernel(updates), -0.1 * 0.5 * kernel(params), rtol=1e-5)


def test_optimizer_applies_the_schedule_it_returns():
    config = optimizer_config(schedule={"name": "linear", "warmup_steps": 1})
    optimizer, schedule = make_optimizer(config, 4)
    params = {"kernel": jnp.zeros(2)}
    state = optimizer.init(params)
    for t in range(4):
        updates, state = optimizer.update({"kernel": jnp.ones(2)}, state, params)
        np.testing.assert_allclose(updates["kernel"], -schedule(t), rtol=1e-4, atol=1e-7)
        params = optax.apply_updates(params, updates)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": {"name": "polynomial"}}, r"config\.optimizer\.schedule\.name='polynomial': choose one of"),
        ({"schedule": {"warmup_steps": -1}}, r"config\.optimizer\.schedule\.warmup_steps=-1"),
        ({"max_grad_norm": -1.0}, r"config\.optimizer\.max_grad_norm=-1\.0 must be positive, or 0 not to clip"),
    ],
)
def test_errors_name_the_field(changes, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(optimizer_config(**changes), 10)


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_a_run_shorter_than_its_warm_up_ends_within_it(name):
    schedule = make_schedule(schedule_config(name=name, peak=0.6, warmup_steps=5), 3)
    np.testing.assert_allclose([schedule(t) for t in range(3)], [0.1, 0.2, 0.3], rtol=1e-6)


def test_a_warm_up_may_be_a_share_of_the_run():
    by_share = make_schedule(schedule_config(name="linear", warmup_steps=7, warmup_ratio=0.3), 10)
    by_steps = make_schedule(schedule_config(name="linear", warmup_steps=3), 10)
    assert [float(by_share(t)) for t in range(10)] == [float(by_steps(t)) for t in range(10)]


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_warm_up_may_begin_at_zero_as_in_transformers(name):
    schedule = make_schedule(schedule_config(name=name, peak=8.0, warmup_steps=4, from_zero=True), 8)
    np.testing.assert_allclose([schedule(t) for t in (0, 1, 2, 3, 4, 6, 8)], [0, 2, 4, 6, 8, 4, 0], atol=1e-6)
