"""Which tokens and completions teach, by hand and in the loss."""

import numpy as np
import pytest

from rrft_jax.losses import GRPOLoss, Scores, Targets, grpo_loss, total
from rrft_jax.losses.selection import near_policy, top_entropy


def test_the_most_uncertain_tokens_by_hand():
    entropy = np.array([[[0.1, 0.4, 9.0], [0.2, 0.3, np.nan]]], np.float32)  # 9 and NaN are padding
    mask = np.array([[[1, 1, 0], [1, 1, 0]]], bool)
    # Of 0.1, 0.2, 0.3, 0.4 the quantile 0.5 is 0.25, the quantile 0.8 (TRL keeps 20 %) 0.34.
    np.testing.assert_array_equal(top_entropy(entropy, mask, 0.5), [[[0, 1, 0], [0, 1, 0]]])
    np.testing.assert_array_equal(top_entropy(entropy, mask, 0.2), [[[0, 1, 0], [0, 0, 0]]])
    np.testing.assert_array_equal(top_entropy(entropy, mask, 1.0), mask)
    assert not np.asarray(top_entropy(entropy, np.zeros_like(mask), 0.5)).any()


def test_a_completion_that_left_the_policy_by_hand():
    old = np.array([[[-1.0, -1.0, 7.0], [-1.0, -1.0, -1.0]]], np.float32)
    new = np.array([[[-1.1, -1.5, -7.0], [-1.1, -1.0, -1.2]]], np.float32)  # means of old - new: 0.3, 0.1
    mask = np.array([[[1, 1, 0], [1, 1, 1]]], bool)
    kept = lambda *advantages: near_policy(new, old, np.array([advantages])[..., None], mask, 0.2)[..., 0]  # noqa: E731
    np.testing.assert_array_equal(kept(-1.0, -1.0), [[False, True]])
    for advantage in (1.0, 0.0):
        np.testing.assert_array_equal(kept(advantage, -1.0), [[True, True]])  # only what is discouraged is left out
    discouraged = np.full((1, 2, 1), -1, np.float32)
    assert np.asarray(near_policy(old - np.float32(0.25), old, discouraged, mask, 0.25)).all()  # at the threshold


def test_both_leave_the_denominators_and_the_other_terms_alone():
    rng = np.random.default_rng(0)
    new, old, ref = (rng.normal(-2, 0.4, (2, 2, 4)).astype(np.float32) for _ in range(3))
    mask = np.arange(4) < np.array([[4, 2], [1, 3]])[..., None]
    advantages, rows = np.array([[1, -1], [-0.5, 0.5]], np.float32), np.ones((2, 2), np.float32)
    chosen = rng.random((2, 2, 4)) < 0.6
    config = GRPOLoss(surrogate="clipped", aggregation="token_mean", beta=0.1, off_policy_threshold=0.05)
    terms, metrics = grpo_loss(Scores(new), Targets(mask, rows, advantages, old, ref, chosen=chosen), config)
    ratio, A = np.exp(new - old), advantages[..., None]
    token = -np.minimum(ratio * A, np.clip(ratio, 0.8, 1.2) * A)
    left = ((old - new) * mask).sum(-1) / mask.sum(-1) > 0.05
    near = ~(left & (advantages < 0))[..., None]
    assert not near.all() and near.any()
    wanted = (token * chosen * near)[mask].sum() / mask.sum()
    kl = (np.exp(ref - new) - (ref - new) - 1)[mask].mean()
    assert float(total(terms)) == pytest.approx(wanted + 0.1 * kl, rel=1e-5)
    assert float(metrics["off_policy_masked"].sum) == (mask & ~near).sum()
