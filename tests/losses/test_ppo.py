"""PPO's critic by hand: token rewards, credit, the value loss, and what it explains."""

from dataclasses import astuple

import numpy as np
import pytest

from rrft_jax.losses import GRPOLoss, Scores, Targets
from rrft_jax.losses.ppo import PPOLoss, credit, ppo_loss, token_rewards
from rrft_jax.losses.value import explained_variance, value_loss

MASK = np.array([[[1, 1, 0], [1, 1, 1]]], bool)


def test_the_reward_comes_last_and_the_penalty_at_every_token():
    old = np.array([[[-1.0, -2.0, 9.0], [-1.0, -1.0, -1.0]]], np.float32)
    ref = np.array([[[-1.5, -2.0, np.nan], [-1.0, -3.0, -0.5]]], np.float32)
    found = token_rewards(np.array([[1.0, 2.0]], np.float32), MASK, old, ref, 0.1)
    np.testing.assert_allclose(found, [[[-0.05, 1.0, 0], [0, -0.2, 2.05]]], atol=1e-6)
    np.testing.assert_allclose(token_rewards(np.array([[1.0, 2.0]]), MASK, old, None, 0.0), [[[0, 1, 0], [0, 0, 2]]])


def test_value_loss_by_hand():
    values, old, returns = (np.array([[[x]]], np.float32) for x in (1.0, 0.5, 2.0))
    assert value_loss(values, old, returns, 0.0).item() == 0.5
    assert value_loss(values, old, returns + 1, 0.0).item() == 2.0
    assert value_loss(old, values, 0 * returns, 0.2).item() == pytest.approx(0.5 * 0.8**2)  # clipped from below
    assert value_loss(values, old, returns, 0.2).item() == pytest.approx(0.5 * 1.3**2)  # clipped to 0.7
    assert value_loss(values, old, np.float32(0.9) + 0 * old, 0.2).item() == pytest.approx(0.5 * 0.2**2)
    assert value_loss(values, np.float32(0.9) + 0 * old, returns, 0.2).item() == 0.5  # within the clip


def test_explained_variance():
    returns = np.array([[[1.0, 3.0, np.nan], [2.0, 2.0, 6.0]]], np.float32)
    for unit in (1, 8):
        assert float(explained_variance(np.where(MASK, returns / unit, 7), returns / unit, MASK)) == pytest.approx(1)
    assert float(explained_variance(np.full((1, 2, 3), 5.0, np.float32), returns, MASK)) == pytest.approx(0)
    assert np.isnan(float(explained_variance(returns, np.ones((1, 2, 3), np.float32), MASK)))


def test_credit_whitens_leaves_missing_rewards_out_and_the_loss_reads_it():
    values = np.array([[[0.5, 0.25, 9.0], [0.0, 0.0, 0.0]]], np.float32)
    rewards, zeros = np.array([[1.0, np.nan]], np.float32), np.zeros((1, 2, 3), np.float32)
    plain = Targets(MASK, np.ones((1, 2), np.float32), old_log_probs=zeros)
    config = PPOLoss(gamma=1.0, lam=1.0, whiten=False, value_clip=0.0, value_coefficient=2.0)
    targets, statistics = credit(rewards, plain, zeros, values, config)
    np.testing.assert_allclose(targets.advantages, [[[0.5, 0.75, 0], [0, 0, 0]]])  # return 1 less the value
    np.testing.assert_allclose(targets.returns, [[[1, 1, np.nan], [np.nan] * 3]])
    assert float(statistics["critic/values"]) == pytest.approx(0.375) and float(statistics["critic/returns"]) == 1
    white, _ = credit(rewards, plain, zeros, values, PPOLoss(lam=1.0))
    root = np.sqrt(0.5)  # of 0.5 and 0.75 with an unbiased variance
    np.testing.assert_allclose(white.advantages, [[[-root, root, 0], [0, 0, 0]]], rtol=1e-4)
    terms, metrics = ppo_loss(Scores(zeros, zeros, values), targets, GRPOLoss(surrogate="clipped"), config)
    assert float(terms["value"].sum) == pytest.approx(0.5 * (0.5**2 + 0.75**2)) and float(terms["value"].weight) == 2
    assert terms["value"].coefficient == 2.0 and set(metrics) >= {"value_loss", "policy_loss", "clip_ratio/low_mean"}
    with pytest.raises(ValueError, match="score with a value head"):
        ppo_loss(Scores(zeros, zeros), targets, GRPOLoss(surrogate="clipped"), config)


def test_values_that_moved_beyond_the_clip_are_counted():
    zeros, ones = np.zeros((1, 1, 3), np.float32), np.ones((1, 1), np.float32)
    mask = np.array([[[1, 1, 0]]], bool)
    targets = Targets(mask, ones, ones, old_log_probs=zeros, returns=zeros, old_values=zeros)
    scores = Scores(zeros, zeros, np.array([[[0.25, -0.5, 9.0]]], np.float32))
    moved = ppo_loss(scores, targets, GRPOLoss(surrogate="clipped"), PPOLoss(value_clip=0.25))[1]["critic/clip_ratio"]
    assert (float(moved.sum), float(moved.count)) == (1, 2)


def test_settings_are_checked():
    assert astuple(PPOLoss()) == (1.0, 0.95, True, 0.0, 0.2, 0.5)
    for field, value in (("gamma", 1.5), ("lam", -0.1), ("value_clip", -1.0), ("value_coefficient", 0.0)):
        with pytest.raises(ValueError, match=f"PPOLoss.{field}={value}"):
            PPOLoss(**{field: value})
