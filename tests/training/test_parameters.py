"""Trainable and frozen parameters: the split, and a step that trains one part."""

import jax
import jax.numpy as jnp
import optax
import pytest

from rrft_jax.models.paths import leaf_paths
from rrft_jax.training.parameters import combine, partition
from rrft_jax.training.step import init_state, make_train_step
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import quick_jit
from tests.rollout.reference import random_params
from tests.training.problems import (
    both_losses,
    example_batch,
    real_gradient,
    toy_forward,
    toy_params,
    whole_gradient,
)


def test_split_and_back():
    params = random_params()
    trainable, frozen = partition(params, ["^vision/", "norm/scale$"])
    assert set(frozen) == {"vision", "language"} and set(trainable) == {"language"}
    assert set(leaf_paths(frozen)) - {p for p in leaf_paths(params) if p.startswith("vision/")} == {
        "language/norm/scale", "language/layers/input_norm/scale", "language/layers/post_norm/scale",
    }  # fmt: skip
    whole = combine(trainable, frozen)
    assert jax.tree.structure(whole) == jax.tree.structure(params)
    assert all(a is b for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(params), strict=True))


def test_nothing_frozen():
    params = random_params()
    trainable, frozen = partition(params, [])
    assert frozen == {} and jax.tree.structure(trainable) == jax.tree.structure(params)


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (["^vison/"], r"config\.train\.freeze: '\^vison/' matches no parameter; paths look like language/"),
        (["^vision/", "decoder"], "'decoder' matches no parameter"),
        (["."], "freezes every parameter"),
        (["^vision/", "^language/"], "nothing is left to train"),
        (["(vision"], r"config\.train\.freeze: '\(vision' is not a regular expression"),
    ],
)
def test_patterns_that_cannot_be_meant(freeze, message):
    with pytest.raises(ValueError, match=message):
        partition(random_params(), freeze)


@pytest.mark.slow
def test_frozen_tower_leaves_the_rest_of_the_gradient():
    trainable, frozen = partition(random_params(), ["^vision/"])
    ours = quick_jit(real_gradient())(trainable, frozen, example_batch())
    assert jax.tree.structure(ours[2]) == jax.tree.structure(trainable)
    whole, slack = (
        (loss, metrics, {"language": gradient["language"]}) for loss, metrics, gradient in whole_gradient()
    )
    assert_same_but_rounding(ours, whole, slack)


def test_frozen_leaves_get_no_optimizer_state_and_the_others_the_same_step():
    optimizer = optax.adamw(0.1)
    step = quick_jit(make_train_step(toy_forward, both_losses, optimizer, optax.constant_schedule(0.1)))
    params, batch = jax.tree.map(jnp.asarray, toy_params()), example_batch()
    trainable, frozen = partition(params, ["^embed/"])
    state = init_state(trainable, optimizer)
    shapes = {x.shape for x in jax.tree.leaves(state["opt_state"])}
    assert params["embed"]["embedding"].shape not in shapes and params["out"]["kernel"].shape in shapes

    apart = lambda trainable, frozen: step({**state, "params": trainable}, frozen, batch)[0]["params"]  # noqa: E731
    slack = rounding(apart, trainable, frozen)
    whole = init_state(params, optimizer)
    for _ in range(2):
        before = state["params"]
        state, _ = step(state, frozen, batch)
        whole, _ = step({**whole, "params": combine(before, frozen)}, {}, batch)
        assert set(state["params"]) == {"out"}
        assert_same_but_rounding(state["params"]["out"], whole["params"]["out"], slack["out"])
    assert combine(state["params"], frozen)["embed"]["embedding"] is params["embed"]["embedding"]
