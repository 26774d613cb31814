"""Each advantage estimator against loops over plain numbers, written from verl's, TRL's and the papers' formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rrft_jax.losses import GRPOLoss, Scores, Targets, grpo_loss, total
from rrft_jax.losses.gae import gae
from rrft_jax.losses.outside import check_estimator, estimate_advantages
from tests.models.build import quick_jit

NAN = np.nan
B, G, C, F = 3, 4, 5, 2
NUMBERS = st.one_of(st.just(NAN), st.floats(-3, 3, width=16))


def token_whitened(rows):
    """verl's masked_whiten of {(b, g, t): value}: mean, unbiased variance, (x - mean) / sqrt(variance + 1e-8)."""
    x = np.array(list(rows.values()), float)
    if not len(x) or x.max() == x.min():
        return dict.fromkeys(rows, 0.0)
    mean = x.mean()
    variance = ((x - mean) ** 2).mean() * len(x) / max(len(x) - 1, 1)
    return {key: (value - mean) / np.sqrt(variance + 1e-8) for key, value in rows.items()}


def expected(name, rewards, lengths, parts, weights, greedy, gamma):
    """float64[B, G, C], from loops; a missing reward, or member, is no part of anything."""
    out = np.zeros((B, G, C))
    tokens = [(b, g, t) for b in range(B) for g in range(G) for t in range(lengths[b, g])]
    there = [[g for g in range(G) if np.isfinite(rewards[b, g])] for b in range(B)]
    if name == "reinforce_pp":
        returns = {(b, g, t): gamma ** (lengths[b, g] - 1 - t) * rewards[b, g] for b, g, t in tokens if g in there[b]}
        for key, value in token_whitened(returns).items():
            out[key] = value
        return out
    if name == "reinforce_pp_baseline":
        centred = {(b, g, t): rewards[b, g] - np.mean(rewards[b, there[b]]) for b, g, t in tokens if g in there[b]}
        for b in range(B):
            if len({rewards[b, g] for g in there[b]}) == 1:
                centred |= {key: 0.0 for key in centred if key[0] == b}
        for key, value in token_whitened(centred).items():
            out[key] = value
        return out
    if name == "gdpo":
        summed = np.zeros((B, G))
        for f in range(F):
            for b in range(B):
                have = [g for g in there[b] if np.isfinite(parts[f, b, g])]
                column = parts[f, b, have].astype(float)
                std = column.std(ddof=1) if len(have) > 1 else 0.0
                for g in have:
                    summed[b, g] += weights[f] * (parts[f, b, g] - column.mean()) / (std + 1e-4)
        every = np.array([summed[b, g] for b in range(B) for g in there[b]])
        std = every.std(ddof=1) if len(every) > 1 else 0.0
        for b in range(B):
            for g in there[b]:
                out[b, g] = (summed[b, g] - every.mean()) / (std + 1e-4)
        return out
    for b in range(B):
        for g in there[b]:
            others = [rewards[b, other] for other in there[b] if other != g]
            if name == "rloo" and others:
                out[b, g] = rewards[b, g] - np.mean(others, dtype=float)
            if name == "remax" and np.isfinite(greedy[b]):
                out[b, g] = rewards[b, g] - greedy[b]
    return out


@pytest.mark.parametrize("name", ["rloo", "remax", "reinforce_pp", "reinforce_pp_baseline", "gdpo"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_against_loops_with_missing_rewards_and_rows_that_only_fill(name, data):
    rewards = data.draw(arrays(np.float32, (B, G), elements=NUMBERS))
    lengths = data.draw(arrays(np.int64, (B, G), elements=st.integers(1, C)))
    parts = data.draw(arrays(np.float32, (F, B, G), elements=NUMBERS))
    greedy = data.draw(arrays(np.float32, B, elements=NUMBERS))
    gamma = data.draw(st.sampled_from([1.0, 0.5])) if name == "reinforce_pp" else 1.0
    weights = np.array([1.0, 0.25], np.float32)
    # The row that only fills has unequal values, which would teach something if it counted.
    more = lambda x: (np.arange(x.size) % 3 + 1).reshape(x.shape).astype(x.dtype)  # noqa: E731
    fill = lambda x, axis: np.concatenate([x, more(x.take([0], axis))], axis)  # noqa: E731
    weight = np.repeat(np.arange(B + 1) < B, G).reshape(B + 1, G)
    inputs = {
        "mask": lambda: np.arange(C) < fill(lengths, 0)[..., None],
        "parts": lambda: fill(parts, 1), "weights": lambda: weights, "greedy": lambda: fill(greedy, 0),
    }  # fmt: skip
    found, _ = estimate_advantages(fill(rewards, 0), weight.astype(np.float32), inputs, estimator=name, gamma=gamma)
    found = np.asarray(found, float)
    assert np.all(found[B] == 0) and found.ndim == (3 if gamma != 1 else 2)
    wanted = expected(name, rewards, lengths, parts, weights, greedy, gamma)
    mask = np.arange(C) < lengths[..., None]
    found = np.broadcast_to(found[:B] if found.ndim == 3 else found[:B, :, None], wanted.shape)
    # Differences of rewards below float32's resolution are blown up by the division: both sides of that are right.
    np.testing.assert_allclose(np.where(mask, found, 0), np.where(mask, wanted, 0), rtol=2e-3, atol=2e-3)


def test_by_hand():
    rewards, ones = np.array([[1.0, 0.0, 0.0, NAN]], np.float32), np.ones((1, 4), np.float32)
    run = lambda name, **inputs: np.asarray(  # noqa: E731
        estimate_advantages(rewards, ones, {k: lambda v=v: v for k, v in inputs.items()}, estimator=name)[0]
    )
    np.testing.assert_allclose(run("rloo"), [[1, -0.5, -0.5, 0]])
    np.testing.assert_allclose(run("remax", greedy=np.array([0.25], np.float32)), [[0.75, -0.25, -0.25, 0]])
    mask = np.arange(2) < np.array([[2, 1, 1, 2]])[..., None]  # returns 1, 1, 0, 0: mean 1/2, variance 1/3
    root = np.sqrt(3) / 2
    np.testing.assert_allclose(run("reinforce_pp", mask=mask), [[root, -root, -root, 0]], rtol=1e-6)


def test_gdpo_by_hand():
    """Of 0 and 2 the std is the root of 2; both divisions add an epsilon of 1."""
    rewards, ones = np.array([[0, 2]], np.float32), np.ones((1, 2), np.float32)
    inputs = {"parts": lambda: rewards[None], "weights": lambda: np.ones(1, np.float32)}
    found, _ = estimate_advantages(rewards, ones, inputs, estimator="gdpo", epsilon=1.0)
    root = np.sqrt(2)
    np.testing.assert_allclose(found, np.array([[-1, 1]]) * (root - 1) / (3 - root), rtol=1e-6)


def test_the_mean_of_a_group_goes_before_the_batch_is_whitened_unless_it_is_alone():
    root = np.sqrt(3) / 2  # of halves with a variance of 1/3
    for rewards, wanted in (([[1, 0], [3, 2]], [[root, -root]] * 2), ([[1], [0]], [[np.sqrt(0.5)], [-np.sqrt(0.5)]])):
        rewards, ones = np.array(rewards, np.float32), np.ones(np.shape(rewards), np.float32)
        inputs = {"mask": lambda ones=ones: ones[..., None] > 0}
        found, _ = estimate_advantages(rewards, ones, inputs, estimator="reinforce_pp_baseline")
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_row_that_only_fills_and_one_without_a_greedy_reward_count_nowhere_in_remax():
    rewards = np.array([[1, 0], [5, 5], [1, 0]], np.float32)
    weight, greedy = np.array([[1, 1], [0, 0], [1, 1]], np.float32), np.array([0.25, 2, NAN], np.float32)
    found, stats = estimate_advantages(rewards, weight, {"greedy": lambda: greedy}, estimator="remax")
    np.testing.assert_array_equal(found, [[0.75, -0.25], [0, 0], [0, 0]])
    assert float(stats["reward_greedy"]) == 0.25


def verl_gae(rewards, values, mask, gamma, lam):
    """verl's loop from the last token to the first, without its whitening."""
    later, running, out = 0.0, 0.0, np.zeros_like(rewards)
    for t in reversed(range(len(rewards))):
        step = rewards[t] + gamma * later - values[t]
        new = step + gamma * lam * running
        later = values[t] if mask[t] else later
        running = new if mask[t] else running
        out[t] = running
    return out * mask, (out + values) * mask


GAE = quick_jit(gae, static_argnums=(3, 4))


@settings(max_examples=25, deadline=None)
@given(
    rewards=arrays(np.float32, (1, 2, 5), elements=st.floats(-2, 2, width=16)),
    values=arrays(np.float32, (1, 2, 5), elements=st.floats(-2, 2, width=16)),
    lengths=arrays(np.int64, (1, 2), elements=st.integers(0, 5)),
    gamma=st.sampled_from([1.0, 0.9]), lam=st.sampled_from([0.0, 0.95, 1.0]),
)  # fmt: skip
def test_gae_against_verls_loop(rewards, values, lengths, gamma, lam):
    mask = np.arange(5) < lengths[..., None]
    dirty = np.where(mask, values, NAN)
    advantages, returns = GAE(np.where(mask, rewards, NAN).astype(np.float32), dirty, mask, gamma, lam)
    for b, g in np.ndindex(lengths.shape):
        wanted = verl_gae(rewards[b, g].astype(float), values[b, g].astype(float), mask[b, g], gamma, lam)
        np.testing.assert_allclose((advantages[b, g], returns[b, g]), wanted, rtol=1e-4, atol=1e-4)


def test_a_token_has_its_own_advantage_in_the_loss():
    rng = np.random.default_rng(0)
    logp, old = (rng.normal(-2, 0.3, (2, 2, 3)).astype(np.float32) for _ in range(2))
    mask = np.arange(3) < np.array([[3, 2], [1, 3]])[..., None]
    token = np.where(mask, rng.normal(size=(2, 2, 3)), NAN).astype(np.float32)
    config = GRPOLoss(surrogate="clipped", aggregation="token_mean")
    loss = quick_jit(grpo_loss, static_argnums=2)
    value = total(loss(Scores(logp), Targets(mask, np.ones((2, 2), np.float32), token, old), config)[0])
    ratio = np.exp(logp - old)[mask]
    wanted = -np.minimum(ratio * token[mask], np.clip(ratio, 0.8, 1.2) * token[mask]).mean()
    assert float(value) == pytest.approx(wanted, rel=1e-5)
    row = rng.normal(size=(2, 2)).astype(np.float32)
    targets = [Targets(mask, np.ones((2, 2), np.float32), a, old) for a in (row, np.repeat(row[..., None], 3, -1))]
    for level in ("token", "sequence"):
        same = [loss(Scores(logp), each, GRPOLoss(surrogate="clipped", ratio_level=level))[0] for each in targets]
        assert float(total(same[0])) == pytest.approx(float(total(same[1])), rel=1e-6)


def test_options_of_another_estimator_are_refused():
    check_estimator(estimator="reinforce_pp", gamma=0.9)
    with pytest.raises(ValueError, match="config.advantages.gamma=0.9 changes nothing: the estimator rloo takes no"):
        check_estimator(estimator="rloo", gamma=0.9)
