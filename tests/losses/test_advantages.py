"""Advantages by hand and by property."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rrft_jax.losses import PAPER_ADVANTAGES, group_advantages

NAN = np.nan


def test_paper_form_by_hand():
    # mean 1, deviations 1, 0, 0, -1: variance 2/3 with ddof 1
    std = np.sqrt(2 / 3)
    for options in ({}, PAPER_ADVANTAGES):
        advantages, stats = group_advantages([[2.0, 1.0, 1.0, 0.0]], **options)
        np.testing.assert_allclose(advantages, np.array([[1, 0, 0, -1]]) / (std + 1e-4), rtol=1e-5)
    assert float(stats["reward"]) == 1.0
    assert float(stats["reward_std"]) == pytest.approx(std)
    assert float(stats["frac_reward_zero_std"]) == 0.0


def test_scales_and_ddof_by_hand():
    rewards = [[0.0, 2.0], [3.0, 7.0]]
    group, stats = group_advantages(rewards, "group", 0, 0.0)
    np.testing.assert_allclose(group, [[-1, 1], [-1, 1]])
    batch, _ = group_advantages(rewards, "batch", 1, 0.5)
    np.testing.assert_allclose(batch, np.array([[-1, 1], [-2, 2]]) / (np.std([0, 2, 3, 7], ddof=1) + 0.5), rtol=1e-5)
    none, _ = group_advantages(rewards, "none", 1, 0.5)
    np.testing.assert_allclose(none, [[-1, 1], [-2, 2]])
    assert float(stats["reward_std"]) == pytest.approx(np.std([0, 2, 3, 7]))
    assert float(stats["reward_group_std"]) == pytest.approx(1.5)


def test_missing_rewards_leave_the_group():
    rewards = [[1.0, NAN, 0.0, NAN], [NAN, NAN, NAN, NAN], [NAN, 5.0, NAN, NAN], [2.0, 2.0, 2.0, np.inf]]
    advantages, stats = group_advantages(rewards, "group", 1, 0.0)
    expected = np.zeros((4, 4))
    expected[0] = [np.sqrt(0.5), 0, -np.sqrt(0.5), 0]
    np.testing.assert_allclose(advantages, expected, rtol=1e-5)
    present = [1, 0, 5, 2, 2, 2]
    assert float(stats["reward"]) == pytest.approx(np.mean(present))
    assert float(stats["reward_std"]) == pytest.approx(np.std(present, ddof=1))
    assert float(stats["reward_group_std"]) == pytest.approx(np.sqrt(0.5) / 3)
    assert float(stats["frac_reward_zero_std"]) == 0.75


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_equal_rewards_give_exactly_zero(scale):
    advantages, stats = group_advantages(np.full((2, 7), 0.1, np.float32), scale, 1, 1e-6)
    assert np.all(np.asarray(advantages) == 0)
    assert float(stats["frac_reward_zero_std"]) == 1.0


def test_nothing_to_measure():
    advantages, stats = group_advantages(np.full((2, 3), NAN), row_weight=np.zeros((2, 3)))
    assert np.all(np.asarray(advantages) == 0)
    assert all(np.isnan(value) for value in stats.values())


REWARDS = arrays(np.float32, (3, 4), elements=st.one_of(st.just(NAN), st.floats(-3, 3, width=16)))


@settings(max_examples=30, deadline=None)
@given(rewards=REWARDS, scale=st.sampled_from(["group", "batch", "none"]), ddof=st.sampled_from([0, 1]))
def test_against_numpy_and_padding(rewards, scale, ddof):
    padded = np.pad(rewards, ((0, 1), (0, 2)), constant_values=100.0)
    weight = np.pad(np.ones_like(rewards), ((0, 1), (0, 2)))
    advantages, stats = group_advantages(padded, scale, ddof, 1e-2, weight)
    present = ~np.isnan(rewards)

    def std(values):
        return np.std(values.astype(float), ddof=ddof) if len(values) > ddof and len(values) else 0.0

    expected = np.zeros((4, 6))
    for i, (row, here) in enumerate(zip(rewards, present, strict=True)):
        if here.any():
            scales = {"group": std(row[here]), "batch": std(rewards[present]), "none": 1.0 - 1e-2}
            centered = np.where(here, row.astype(float) - row[here].astype(float).mean(), 0.0)
            expected[i, :4] = centered / (scales[scale] + 1e-2)
    np.testing.assert_allclose(advantages, expected, rtol=1e-3, atol=1e-4)
    if present.any():
        np.testing.assert_allclose(stats["reward"], rewards[present].mean(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(stats["reward_std"], std(rewards[present]), rtol=1e-4, atol=1e-5)


def test_wrong_scale_is_named():
    with pytest.raises(ValueError, match="scale must be one of group, batch, none; got 'sigma'"):
        group_advantages([[1.0]], "sigma")
