"""The GRPO composition against plain float64 NumPy, finite differences and properties."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.losses import GRPOLoss, Scores, Targets, finalize, grpo_loss, kl, merge_stacked, total, trl
from rrft_jax.losses.surrogate import token_ratio
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.losses.batches import merge, paper, random_batch
from tests.models.build import quick_jit

CONFIGS = {
    "paper": paper(),
    "clipped_dual": GRPOLoss("clipped", dual_clip=1.2, delta=1.5, beta=0.1, entropy_coefficient=0.01),
    "gspo": trl("grpo", "sequence", beta=0.04, use_bias_correction_kl=True),
    "dr_grpo_k2": dataclasses.replace(trl("dr_grpo", max_completion_length=6, beta=0.04), kl_estimator="k2"),
    "luspo": trl("luspo", "sequence", beta=0.04, use_bias_correction_kl=False),
    "cispo": trl("cispo", epsilon_high=1.1, beta=0.04),
    "sapo": trl("sapo", beta=0.04, entropy_coef=0.01),
}


# Compiled once a config and shape: op by op these tests take three times as long.
compiled_loss = quick_jit(grpo_loss, static_argnums=2)


def prepare(config, scores, targets):
    """On-policy losses take no old log-probabilities."""
    return scores, dataclasses.replace(targets, old_log_probs=None) if config.surrogate == "on_policy" else targets


def loss_of(config, scores, targets):
    return total(compiled_loss(*prepare(config, scores, targets), config)[0])


@functools.partial(quick_jit, static_argnums=0)
def compiled_gradient(config, scores, targets):
    return jax.grad(lambda x: total(grpo_loss(x, targets, config)[0]))(scores).log_probs


def gradient(config, scores, targets):
    return compiled_gradient(config, *prepare(config, scores, targets))


def everything(config, scores, targets):
    """Loss, its gradient and the metrics."""
    inputs = prepare(config, scores, targets)
    terms, metrics = compiled_loss(*inputs, config)
    return total(terms), compiled_gradient(config, *inputs), finalize(metrics)


def plain_loss(config, log_probs, scores, targets):
    """The same losses, token by token in Python floats; what the loss holds constant is taken from `scores`."""
    b, g, _ = log_probs.shape
    policy, penalty, entropy, counts, rows = {}, {}, 0.0, {}, 0
    for i in range(b):
        for j in range(g):
            if targets.row_weight[i, j] == 0:
                continue
            rows += 1
            n = int(targets.loss_mask[i, j].sum())
            new, a = log_probs[i, j, :n].astype(float), float(targets.advantages[i, j])
            base = scores.log_probs[i, j, :n].astype(float)
            old = base if config.surrogate == "on_policy" else targets.old_log_probs[i, j, :n].astype(float)

            def ratios(x, old=old, n=n):
                if config.ratio_level == "token":
                    return np.exp(x - old)
                return np.full(n, np.exp((x - old).mean()))

            r, tokens = ratios(new), []
            for t in range(n):
                if config.surrogate == "on_policy":
                    token = -r[t] * a
                elif config.surrogate == "cispo":
                    token = -min(ratios(base)[t], config.epsilon_high) * a * new[t]
                elif config.surrogate == "sapo":
                    tau = config.sapo_temperature_positive if a > 0 else config.sapo_temperature_negative
                    token = -4 / tau / (1 + np.exp(-tau * (r[t] - 1))) * a
                else:
                    bounded = min(max(r[t], 1 - config.epsilon_low), 1 + config.epsilon_high)
                    free = r[t] if config.delta is None else min(r[t], config.delta)
                    token = -min(free * a, bounded * a)
                    if config.dual_clip is not None and a < 0:
                        token = min(token, -config.dual_clip * a)
                tokens.append(token)
            d = targets.ref_log_probs[i, j, :n].astype(float) - new
            kl = d**2 / 2 if config.kl_estimator == "k2" else np.exp(d) - d - 1
            policy[i, j] = np.array(tokens)
            penalty[i, j] = kl * r if config.kl_ratio_correction else kl
            entropy += scores.entropy[i, j, :n].astype(float).sum()
            counts[i, j] = n
    everything = sum(counts.values())

    def average(x):
        if config.aggregation == "sequence_mean_token_mean":
            return sum(v.mean() for v in x.values()) / rows
        weight = {"token_mean": everything, "sequence_sum": rows}.get(config.aggregation)
        return sum(v.sum() for v in x.values()) / (weight or rows * config.max_completion_length)

    return average(policy) + config.beta * average(penalty) - config.entropy_coefficient * entropy / everything


@pytest.mark.parametrize("name", CONFIGS)
def test_value_and_gradient_against_plain_numpy(name):
    config = CONFIGS[name]
    scores, targets = random_batch(7)
    x = scores.log_probs.astype(np.float64)
    slack = rounding(functools.partial(loss_of, config), scores, targets)
    assert_same_but_rounding(loss_of(config, scores, targets), plain_loss(config, x, scores, targets), slack)
    got = np.asarray(gradient(config, scores, targets))
    step = 1e-5
    for index in np.ndindex(x.shape):
        bump = np.zeros_like(x)
        bump[index] = step
        up, down = (plain_loss(config, x + sign * bump, scores, targets) for sign in (1, -1))
        assert got[index] == pytest.approx((up - down) / (2 * step), rel=1e-3, abs=2e-6), index


def one_token(surrogate, ratio, advantage, **options):
    """Loss and d loss / d log_prob of one token."""
    targets = Targets(jnp.ones((1, 1, 1), bool), jnp.ones((1, 1)), jnp.full((1, 1), advantage), jnp.zeros((1, 1, 1)))
    scores = Scores(jnp.log(jnp.full((1, 1, 1), ratio)))
    config = GRPOLoss(surrogate, **options)
    return float(loss_of(config, scores, targets)), float(gradient(config, scores, targets).item())


@pytest.mark.parametrize(
    "surrogate, ratio, advantage, options, loss, slope",
    [
        ("clipped", 1.5, 2.0, {}, -2.4, 0.0),  # above 1 + 0.2 with A > 0: clipped
        ("clipped", 1.5, -2.0, {}, 3.0, 3.0),  # pessimistic side: not clipped
        ("clipped", 0.5, -2.0, {}, 1.6, 0.0),  # below 1 - 0.2 with A < 0: clipped
        ("clipped", 0.5, 2.0, {}, -1.0, -1.0),
        ("clipped", 1.25, 1.0, {"epsilon_high": 0.28}, -1.25, -1.25),
        ("clipped", 5.0, -1.0, {"dual_clip": 3.0}, 3.0, 0.0),
        ("clipped", 2.0, -1.0, {"dual_clip": 3.0}, 2.0, 2.0),
        ("clipped", 5.0, 1.0, {"dual_clip": 3.0}, -1.2, 0.0),
        ("clipped", 5.0, -1.0, {"delta": 2.0}, 2.0, 0.0),
        ("cispo", 4.0, 1.0, {"cispo_cap": 3.0}, -3.0 * np.log(4.0), -3.0),
        ("cispo", 0.5, -1.0, {"cispo_cap": 3.0}, 0.5 * np.log(0.5), 0.5),
        ("sapo", 1.0, 1.0, {}, -2.0, -1.0),  # at ratio 1 the gate's slope is 1, whatever its temperature
        ("sapo", 1.0, -1.0, {"sapo_temperature_negative": 2.0}, 1.0, 1.0),
    ],
)
def test_hand_worked_tokens(surrogate, ratio, advantage, options, loss, slope):
    value, got_slope = one_token(surrogate, ratio, advantage, **options)
    assert value == pytest.approx(loss, rel=1e-5)
    assert got_slope == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_estimates_of_the_kl_by_hand():
    policy, ref = jnp.log(jnp.array([0.5, 1.0])), jnp.log(jnp.array([0.25, 1.0]))
    for estimate, value in ((kl.k1, np.log(2)), (kl.k2, np.log(2) ** 2 / 2), (kl.k3, np.log(2) - 0.5)):
        np.testing.assert_allclose(estimate(policy, ref), [value, 0], rtol=1e-6)
    far, slope = jax.value_and_grad(kl.k3)(jnp.float32(-100), jnp.float32(0))  # flat past a log-ratio of 20
    assert float(far) == pytest.approx(np.exp(20) - 21) and slope == 0
    assert float(token_ratio(jnp.float32(100))) == pytest.approx(np.exp(20))


def test_paper_gradient_is_the_policy_gradient_with_the_k3_penalty():
    log_probs = jnp.log(jnp.array([[[0.5, 0.25]]]))
    ref = jnp.log(jnp.array([[[0.25, 0.25]]]))
    targets = Targets(jnp.ones((1, 1, 2), bool), jnp.ones((1, 1)), jnp.array([[0.8]]), ref_log_probs=ref)
    assert loss_of(paper(), Scores(log_probs), targets) == pytest.approx(-0.8 + 0.04 * (0.5 + np.log(2) - 1) / 2)
    slopes = gradient(paper(), Scores(log_probs), targets)[0, 0]
    np.testing.assert_allclose(slopes, [(-0.8 + 0.04 * (1 - 0.5)) / 2, -0.8 / 2], rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), axis=st.sampled_from([0, 1]))
def test_parts_add_up_to_the_whole(name, seed, axis):
    config = CONFIGS[name]
    batch = prepare(config, *random_batch(seed, b=4, g=4))
    parts = [jax.tree.map(lambda x: np.split(x, [2], axis)[i], batch) for i in (0, 1)]  # noqa: B023

    def finished(results):
        return total(results[0]), finalize(results[1])

    def f(*batch):
        return finished(compiled_loss(*batch, config))

    merged = finished(merge(*(compiled_loss(*part, config) for part in parts)))
    assert_same_but_rounding(merged, f(*batch), rounding(f, *batch))


@pytest.mark.parametrize("name", CONFIGS)
def test_scanned_micro_batches_give_the_same_gradient(name):
    config = CONFIGS[name]
    scores, targets = prepare(config, *random_batch(3, b=4))

    def scanned(log_probs):
        batch = dataclasses.replace(scores, log_probs=log_probs), targets
        stacked = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), batch)
        _, parts = jax.lax.scan(lambda carry, part: (carry, grpo_loss(*part, config)), None, stacked)
        return total(merge_stacked(parts)[0])

    f = lambda *batch: everything(config, *batch)[:2]  # noqa: E731
    ours = quick_jit(jax.value_and_grad(scanned))(scores.log_probs)
    assert_same_but_rounding(ours, f(scores, targets), rounding(f, scores, targets))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("name", CONFIGS)
def test_padding_changes_nothing_whatever_it_holds(name, garbage):
    config = CONFIGS[name]
    scores, targets = random_batch(11)
    targets.row_weight[0, 1] = 0.0
    padded = (
        jax.tree.map(lambda x: np.pad(x, ((0, 1), (0, 0), (0, 2))), scores),
        jax.tree.map(lambda x: np.pad(x, ((0, 1), (0, 0), (0, 2))[: x.ndim]), targets),
    )
    mask = np.asarray(padded[1].token_mask())
    for part, fields in ((padded[0], ("log_probs", "entropy")), (padded[1], ("old_log_probs", "ref_log_probs"))):
        for field in fields:
            getattr(part, field)[~mask] = garbage
    padded[1].advantages[padded[1].row_weight == 0] = garbage

    f = functools.partial(everything, config)
    loss, slopes, metrics = f(*padded)
    assert np.all(np.asarray(slopes)[~mask] == 0)
    ours = loss, slopes[:-1, :, :-2], metrics
    assert_same_but_rounding(ours, f(scores, targets), rounding(f, scores, targets))


@pytest.mark.parametrize("name", CONFIGS)
def test_order_of_groups_and_members_does_not_matter(name):
    config = CONFIGS[name]
    batch = random_batch(5)
    rng = np.random.default_rng(0)
    rows, members = rng.permutation(4), rng.permutation(3)
    shuffled = jax.tree.map(lambda x: x[rows][:, members], batch)
    f = functools.partial(loss_of, config)
    assert_same_but_rounding(f(*shuffled), f(*batch), rounding(f, *batch))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_of_padding_alone_is_zero_with_zero_gradient(name):
    config = CONFIGS[name]
    scores, targets = random_batch(5)
    targets = dataclasses.replace(targets, row_weight=np.zeros_like(targets.row_weight))
    assert loss_of(config, scores, targets) == 0
    assert np.all(np.asarray(gradient(config, scores, targets)) == 0)
    metrics = finalize(grpo_loss(*prepare(config, scores, targets), config)[1])
    assert all(np.isnan(value) for value in metrics.values())


def test_extreme_log_ratios_stay_finite():
    scores, targets = random_batch(2)
    for shift in (500.0, -500.0):
        moved = dataclasses.replace(
            targets, old_log_probs=targets.old_log_probs + shift, ref_log_probs=targets.ref_log_probs - shift
        )
        for config in CONFIGS.values():
            assert np.isfinite(loss_of(config, scores, moved))
            assert np.isfinite(np.asarray(gradient(config, scores, moved))).all()


def test_old_log_probs_default_to_the_current_policy():
    scores, targets = random_batch(2)
    current = dataclasses.replace(targets, old_log_probs=scores.log_probs)
    absent = dataclasses.replace(targets, old_log_probs=None)
    for name in ("clipped_dual", "gspo", "cispo", "sapo"):
        f = functools.partial(gradient, CONFIGS[name])
        assert_same_but_rounding(f(scores, absent), f(scores, current), rounding(f, scores, absent))


def test_clip_metrics_by_hand():
    ratios = np.array([[[1.5, 1.0, 0.5, 9.0]], [[0.5, 0.5, 1.5, 1.0]]], np.float32)
    targets = Targets(
        loss_mask=np.array([[[1, 1, 1, 0]], [[1, 1, 1, 1]]]),
        row_weight=np.ones((2, 1), np.float32),
        advantages=np.array([[1.0], [-1.0]], np.float32),
        old_log_probs=np.zeros((2, 1, 4), np.float32),
        ref_log_probs=np.zeros((2, 1, 4), np.float32),
    )
    scores = Scores(jnp.log(ratios), jnp.ones((2, 1, 4)))
    metrics = finalize(compiled_loss(scores, targets, GRPOLoss("clipped"))[1])
    logs = np.log([1.5, 1.0, 0.5, 0.5, 0.5, 1.5, 1.0])
    expected = {
        "clip_ratio/high_mean": 1 / 7,
        "clip_ratio/low_mean": 2 / 7,
        "clip_ratio/region_mean": 3 / 7,
        "clip_ratio/low_min": 0.0,
        "clip_ratio/high_max": 1 / 3,
        "entropy": 1.0,
        "kl_k1": logs.mean(),
        "kl": (np.exp(-logs) + logs - 1).mean(),
        "policy_loss": ((-1.2 - 1 - 0.5) / 3 + (0.8 + 0.8 + 1.5 + 1) / 4) / 2,
    }
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert float(metrics[name]) == pytest.approx(value, rel=1e-5, abs=1e-7), name

    one_group = jax.tree.map(lambda x: np.swapaxes(x, 0, 1), (scores, targets))
    by_sequence = finalize(compiled_loss(*one_group, GRPOLoss("clipped", "sequence", epsilon_low=0.15))[1])
    assert by_sequence["clip_ratio/low_mean"] == 0.5  # (0.5 * 0.5 * 1.5) ** (1/4) = 0.78 is one of two sequences
    halves = dataclasses.replace(targets, advantages=targets.advantages / 2)
    cispo = finalize(compiled_loss(scores, halves, GRPOLoss("cispo", cispo_cap=1.2))[1])
    assert float(cispo["cispo_clip_ratio"]) == pytest.approx(1 / 7)
    assert float(finalize(compiled_loss(scores, halves, GRPOLoss("clipped"))[1])["clip_ratio/high_mean"]) == (
        pytest.approx(1 / 7)
    )
    for config in (GRPOLoss("clipped", epsilon_low=0.0, epsilon_high=0.0), GRPOLoss("cispo", cispo_cap=1.0)):
        metrics = finalize(compiled_loss(Scores(jnp.zeros((2, 1, 4))), targets, config)[1])
        assert all(value == 0 for name, value in metrics.items() if "clip" in name)  # a ratio at its limit, 1


def test_metrics_carry_no_gradient():
    scores, targets = random_batch(1)
    config = CONFIGS["clipped_dual"]

    def metric(x):
        return grpo_loss(dataclasses.replace(scores, log_probs=x), targets, config)[1]["policy_loss"].sum

    assert np.all(np.asarray(jax.grad(metric)(scores.log_probs)) == 0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"surrogate": "ppo"}, "GRPOLoss.surrogate must be one of on_policy, clipped, cispo, sapo; got 'ppo'"),
        ({"ratio_level": "word"}, "GRPOLoss.ratio_level must be one of token, sequence"),
        ({"aggregation": "mean"}, "GRPOLoss.aggregation must be one of sequence_mean_token_mean"),
        ({"kl_estimator": "k1"}, "expected on-policy gradient is zero"),
        ({"kl_estimator": "k4"}, "GRPOLoss.kl_estimator must be one of k2, k3"),
        ({"epsilon_low": -0.1}, "GRPOLoss.epsilon_low must be at least 0"),
        ({"beta": -1.0}, "GRPOLoss.beta must be at least 0"),
        ({"surrogate": "clipped", "dual_clip": 1.0}, "GRPOLoss.dual_clip must be None or greater than 1"),
        ({"surrogate": "sapo", "delta": 2.0}, "only 'clipped' reads it"),
        ({"sapo_temperature_negative": 0.0}, "GRPOLoss.sapo_temperature_negative must be positive"),
        ({"aggregation": "constant_length"}, "GRPOLoss.max_completion_length must be positive"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        GRPOLoss(**options)


def test_the_defaults_of_trl():
    wanted = GRPOLoss("clipped", "token", "token_mean", cispo_cap=0.2, max_completion_length=512)
    assert trl() == dataclasses.replace(wanted, kl_ratio_correction=True)
    assert trl(epsilon_high=0.28).cispo_cap == trl(epsilon=0.28).epsilon_high == 0.28


def test_wrong_inputs_are_named():
    scores, targets = random_batch(1)
    with pytest.raises(ValueError, match="takes the current policy"):
        grpo_loss(scores, targets, paper())
    with pytest.raises(ValueError, match="score the reference"):
        grpo_loss(scores, dataclasses.replace(targets, ref_log_probs=None), GRPOLoss("clipped", beta=0.1))
    with pytest.raises(ValueError, match="Scores.entropy is None"):
        config = GRPOLoss("clipped", entropy_coefficient=0.1)
        grpo_loss(dataclasses.replace(scores, entropy=None), targets, config)
    with pytest.raises(ValueError, match="Targets.advantages is None"):
        grpo_loss(scores, dataclasses.replace(targets, advantages=None), GRPOLoss("clipped"))
    with pytest.raises(ValueError, match="loss_type must be one of grpo, bnpo"):
        trl("vespo")


@pytest.mark.parametrize("name", ["on_policy", "clipped", "cispo"])
def test_importance_weights_are_capped_constants_on_the_policy_loss(name):
    """A token drawn as if it were half as likely counts twice, or `cap` times; KL and gradient paths stay."""
    scores, targets = random_batch(3)
    config = GRPOLoss(surrogate=name, beta=0.04, epsilon_high=0.5)
    old = scores.log_probs if name == "on_policy" else targets.old_log_probs
    for weight, cap, expected in ((2.0, 3.0, 2.0), (2.0, 1.5, 1.5), (0.5, 3.0, 0.5)):
        drawn = dataclasses.replace(targets, sampling_log_probs=old - np.log(weight).astype(np.float32))
        capped = dataclasses.replace(config, importance_cap=cap)
        plain, _ = compiled_loss(*prepare(config, scores, targets), config)
        terms, metrics = compiled_loss(*prepare(capped, scores, drawn), capped)
        policy = lambda s, t, config=capped: compiled_loss(*prepare(config, s, t), config)[0]["policy"].sum  # noqa: E731
        slack = rounding(policy, scores, drawn)
        assert_same_but_rounding(terms["policy"].sum, expected * plain["policy"].sum, slack)
        assert float(terms["kl"].sum) == float(plain["kl"].sum)
        for which in ("mean", "max"):
            gap = finalize(metrics)[f"sampling/sampling_logp_difference/{which}"]
            assert float(gap) == pytest.approx(np.log(2), rel=1e-5)
        for which in ("mean", "min", "max"):
            found = finalize(metrics)[f"sampling/importance_sampling_ratio/{which}"]
            assert float(found) == pytest.approx(expected, rel=1e-5)
        weighted, alone = (functools.partial(gradient, dataclasses.replace(c, beta=0.0)) for c in (capped, config))
        slack = rounding(weighted, scores, drawn)
        assert_same_but_rounding(weighted(scores, drawn), expected * alone(scores, targets), slack)
    with pytest.raises(ValueError, match="sampling_log_probs is None"):
        grpo_loss(*prepare(capped, scores, targets), capped)
    with pytest.raises(ValueError, match="importance_cap must be None or positive"):
        GRPOLoss(importance_cap=0.0)
