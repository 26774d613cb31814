"""A surrogate or an estimator from a file does what a registered one does, and says where it is wrong."""

import numpy as np
import pytest

from rrft_jax.losses import GRPOLoss, grpo_loss, total
from rrft_jax.losses.advantages import group_advantages
from rrft_jax.losses.estimators import ESTIMATORS
from rrft_jax.losses.outside import check_estimator, estimate_advantages
from tests.losses.batches import random_batch

FILE = """
import jax.numpy as jnp

def clipped(ratio, log_probs, advantages, *, epsilon_low, epsilon_high, slack=0.0):
    bounded = jnp.clip(ratio, 1 - epsilon_low - slack, 1 + epsilon_high)
    return -jnp.minimum(ratio * advantages, bounded * advantages)

def wrong_shape(ratio, log_probs, advantages):
    return advantages.sum()

def three_tokens(ratio, log_probs, advantages):
    return ratio[..., :3]

def broken(ratio, log_probs, advantages):
    return ratio @ log_probs

def needs(ratio, log_probs, advantages, *, margin):
    return ratio

NUMBER = 3

def above_median(rewards, row_weight, *, step=1.0):
    real = row_weight > 0
    middle = jnp.nanmedian(jnp.where(real, rewards, jnp.nan), -1, keepdims=True)
    return jnp.where(real, step * jnp.sign(rewards - middle), 0.0), {"reward_median": middle.mean()}

def no_statistics(rewards, row_weight):
    return rewards

def transposed(rewards, row_weight):
    return rewards.T, {}

def crash(rewards, row_weight):
    return rewards[:, 7, 7], {}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("outside") / "mine.py"
    path.write_text(FILE)
    return str(path)


def test_a_surrogate_from_a_file_takes_the_fields_it_names(file):
    scores, targets = random_batch(3)
    value = lambda name, **fields: total(grpo_loss(scores, targets, GRPOLoss(name, **fields))[0])  # noqa: E731
    for fields in ({}, {"epsilon_low": 0.05, "epsilon_high": 0.4}):
        assert value(f"{file}:clipped", **fields) == pytest.approx(float(value("clipped", **fields)), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("wrong_shape", {}, None),  # a scalar broadcasts
        ("clipped", {"delta": 2.0}, "GRPOLoss.delta must be None"),
        ("three_tokens", {}, r"mine.py:11\) must return a float array .* gave float32\[2, 3, 3\]"),
        ("broken", {}, r"surrogate=.*mine.py:broken: TypeError: .*mine.py:15\)"),
        ("needs", {}, r"mine.py:17\): give margin a default"),
        ("NUMBER", {}, "a function is wanted, not int"),
        ("cliped", {}, "has no cliped; it defines clipped"),
    ],
)
def test_a_wrong_surrogate_is_refused_before_the_run(file, name, fields, message):
    if message is None:
        GRPOLoss(f"{file}:{name}", **fields)
        return
    with pytest.raises(ValueError, match=message):
        GRPOLoss(f"{file}:{name}", **fields)


def test_an_estimator_from_a_file_replaces_the_advantages_and_keeps_the_metrics(file):
    rewards = np.array([[0.0, 1.0, 3.0], [2.0, 2.0, 5.0], [9.0, 9.0, 9.0]], np.float32)
    weight = np.array([[1, 1, 1], [1, 1, 1], [0, 0, 0]], np.float32)
    name = f"{file}:above_median"
    options = dict(step=2.0, scale="group", ddof=1, epsilon=1e-4)
    advantages, statistics = estimate_advantages(rewards, weight, estimator=name, **options)
    np.testing.assert_array_equal(advantages, [[-2, 0, 2], [0, 0, 2], [0, 0, 0]])
    own = group_advantages(rewards, row_weight=weight)[1]
    assert {name: float(statistics[name]) for name in own} == pytest.approx({k: float(v) for k, v in own.items()})
    assert "reward_median" in statistics


def test_a_right_estimator_is_not_refused(file):
    check_estimator(estimator=f"{file}:above_median", step=2.0)
    for name in ESTIMATORS:
        check_estimator(estimator=name)
    check_estimator(estimator="reinforce_pp", gamma=0.5)  # which gives [B, G, C]


def test_the_registered_estimator_is_called_with_its_options():
    rewards, weight = np.array([[0.0, 2.0], [3.0, 7.0]], np.float32), np.ones((2, 2), np.float32)
    advantages, _ = estimate_advantages(rewards, weight, estimator="grpo", scale="none", ddof=0, epsilon=1.0)
    np.testing.assert_array_equal(advantages, [[-1, 1], [-2, 2]])


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("above_median", {"scale": "batch"}, "config.advantages.scale='batch' changes nothing.*median takes step"),
        ("above_median", {"stap": 1.0}, "config.advantages.stap=1.0 changes nothing"),
        ("no_statistics", {}, r"mine.py:27\) must return float advantages \[B, G\] or \[B, G, C\] and a dict"),
        ("transposed", {}, r"gave \('float32\[3, 2\]', {}\)"),
        ("crash", {}, r"estimator=.*crash: IndexError: .*mine.py:34\)"),
        ("NUMBER", {}, "a function is wanted, not int"),
    ],
)  # fmt: skip
def test_a_wrong_estimator_is_refused_before_the_run(file, name, fields, message):
    with pytest.raises(ValueError, match=message):
        check_estimator(estimator=f"{file}:{name}", **fields)
