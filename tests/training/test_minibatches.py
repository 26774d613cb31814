"""Several updates on one sampled batch: which prompts each takes, what it computes, and a run killed between two."""

import signal
from functools import partial
from types import SimpleNamespace
from unittest import mock

import jax
import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.config.groups import read
from rrft_jax.losses.grpo import GRPOLoss, grpo_loss
from rrft_jax.losses.terms import Scores, Targets, total
from rrft_jax.parallel.layout import Layout, one_row_each
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.training.algorithms.grpo import GRPO
from rrft_jax.training.minibatches import Minibatches, padded, select
from rrft_jax.training.programs import StepLayout, make_programs, step_layout
from rrft_jax.training.step import Batch, init_state
from rrft_jax.training.validate import check_config
from tests.devices import run_on_devices
from tests.helpers.rounding import assert_same_but_rounding
from tests.models.build import quick_jit
from tests.rollout.reference import EOS, MODEL, PAD, random_params, text_prompts
from tests.training import runs

TWICE = ("--config.train.minibatches=2", "--config.train.rollout_epochs=2", "--config.loss.surrogate=clipped")


def test_every_pass_takes_every_prompt_once_in_an_order_of_its_own():
    parts = Minibatches(count=4, epochs=3)
    passes = [[parts.prompts_of(5, 7, 4 * e + u, 12).tolist() for u in range(4)] for e in range(3)]
    assert all(sorted(sum(one, [])) == list(range(12)) for one in passes)
    assert len({str(one) for one in passes}) == 3 and passes[0] != [list(range(i, i + 3)) for i in range(0, 12, 3)]
    assert parts.prompts_of(5, 7, 0, 12).tolist() == passes[0][0] and parts.updates == 12
    others = (parts.prompts_of(5, 8, 0, 12), parts.prompts_of(6, 7, 0, 12))
    assert all(other.tolist() != passes[0][0] for other in others)


@pytest.mark.parametrize(
    ("of", "to"),
    [
        (Layout(4, 4), Layout(2, 2)),
        (Layout(4, 8, 2), Layout(2, 8, 4)),  # more devices than prompts: the part splits its groups further
        (Layout(6, 8), Layout(3, 4)),  # neither divides the devices
    ],
)
def test_a_part_has_the_rows_of_its_prompts_and_nothing_else(of, to):
    G, C, P = 4, 3, 5
    by_prompt = lambda *shape: np.arange(np.prod((of.rows // of.split, *shape))).reshape(-1, *shape)  # noqa: E731
    members = by_prompt(G, C)
    rows = lambda x: x.reshape(of.rows, G // of.split, *x.shape[2:])  # noqa: E731
    weight = np.where(np.arange(of.rows // of.split) < of.prompts, 1.0, 0.0)[:, None].repeat(G, 1).astype(np.float32)
    prompts = {"tokens": by_prompt(P).repeat(of.split, 0)}
    batch = Batch(prompts, rows(members), rows(members) > 0, Targets(rows(members) > 0, rows(weight), rows(weight)))
    numbers = np.array([of.prompts - 1, 1, 0][: to.prompts])
    with jax.set_mesh(make_mesh(devices=jax.devices()[:1])):
        part = jax.jit(partial(select, of=of, to=to))(batch, *padded(numbers, to))
    real = to.prompts * to.split
    assert part.tokens.shape == (to.rows, G // to.split, C) and part.prompts["tokens"].shape == (to.rows, P)
    np.testing.assert_array_equal(part.tokens[:real].reshape(to.prompts, G, C), members[numbers])
    np.testing.assert_array_equal(part.prompts["tokens"][:real], by_prompt(P)[numbers].repeat(to.split, 0))
    np.testing.assert_array_equal(part.targets.row_weight[:real], 1)
    np.testing.assert_array_equal(part.targets.row_weight[real:], 0)


def formula(name, logp, old, mask, advantages, ref, weight):
    """dL / d log-prob of every token, by hand from the papers' formulas, and the policy loss (TRL 1.16's signs)."""
    out = np.zeros_like(logp)
    sequences = (weight > 0).sum()
    for b, g in np.ndindex(*advantages.shape):
        n, A = int(mask[b, g].sum()), advantages[b, g]
        ratio = np.exp(logp[b, g, :n] - old[b, g, :n])
        if name == "sequence":
            s = np.exp((logp[b, g, :n] - old[b, g, :n]).mean())
            inside = (s <= 1.01) if A > 0 else (s >= 0.99)
            out[b, g, :n] = -A * s / n * inside  # every token moves s by s / n
        for t in range(n):
            r = ratio[t]
            if name in ("clipped", "delta", "dual_clip", "kl"):
                low, high = (0.01, 0.01) if name == "clipped" else (0.2, 0.2)
                capped = min(r, 1.005) if name == "delta" else r
                unclipped, clipped = capped * A, np.clip(r, 1 - low, 1 + high) * A
                slope = A * (r < 1.005 if name == "delta" else True) if unclipped <= clipped else 0.0
                if unclipped > clipped and 1 - low <= r <= 1 + high:
                    slope = A
                if name == "dual_clip" and A < 0 and -min(unclipped, clipped) > -1.005 * A:
                    slope = 0.0
                out[b, g, t] = -slope * r
            if name == "cispo":
                out[b, g, t] = -min(r, 1.005) * A
            if name == "sapo":
                tau = 2.0 if A > 0 else 3.0
                gate = 1 / (1 + np.exp(-tau * (r - 1)))
                out[b, g, t] = -4 * gate * (1 - gate) * A * r
            if name == "kl":  # beta 0.5, k3 times the ratio, both with gradient
                d = ref[b, g, t] - logp[b, g, t]
                out[b, g, t] += 0.5 * r * ((np.exp(d) - d - 1) + (1 - np.exp(d)))
        out[b, g, :n] /= n
    return out / sequences


WIDE = {"surrogate": "clipped", "epsilon_low": 9.0, "epsilon_high": 9.0}  # clips nothing
OPTIONS = {
    "clipped": {"surrogate": "clipped", "epsilon_low": 0.01, "epsilon_high": 0.01},
    "sequence": {"surrogate": "clipped", "ratio_level": "sequence", "epsilon_low": 0.01, "epsilon_high": 0.01},
    "delta": {"surrogate": "clipped", "delta": 1.005},
    "dual_clip": {"surrogate": "clipped", "dual_clip": 1.005},
    "cispo": {"surrogate": "cispo", "cispo_cap": 1.005},
    "sapo": {"surrogate": "sapo", "sapo_temperature_positive": 2.0, "sapo_temperature_negative": 3.0},
    "kl": {"surrogate": "clipped", "kl_ratio_correction": True, "beta": 0.5},
}


@pytest.fixture(scope="module")
def moved():
    """Two prompts sampled once, an update taken on both: the batch, and its log-probs before and after the update."""
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    config.rollout.update({"group": 4, "max_completion_length": 6})
    config.train.update({"prompts": 2, "micro_batches": 1, "rollout_epochs": 2})
    config.loss.update({"surrogate": "clipped", "beta": 0.0})
    config.optimizer.schedule.update({"peak": 2e-3, "warmup_steps": 0})
    vocabulary = SimpleNamespace(vocab_tokens=59, eos_token_ids=EOS, pad_token_id=PAD)
    layout = StepLayout(4, one_row_each(2), one_row_each(2))
    with mock.patch.object(jax, "jit", quick_jit):
        programs = make_programs(config, GRPO.loss(config), MODEL, vocabulary, layout)
    params, prompts = random_params(), text_prompts()
    drawn = jax.tree.map(np.asarray, programs.sample(params, prompts, jax.random.key(0)))
    rng = np.random.default_rng(1)
    advantages = rng.normal(size=(2, 4)).astype(np.float32)
    targets = Targets(
        drawn.mask, np.ones((2, 4), np.float32), advantages, drawn.log_probs,
        drawn.log_probs + rng.normal(0, 0.3, drawn.log_probs.shape).astype(np.float32), drawn.sampled_log_probs,
    )  # fmt: skip
    state = init_state(jax.tree.map(np.array, params), programs.optimizer)
    batch = Batch(prompts, drawn.tokens, drawn.mask, targets)
    state, metrics = programs.step(state, {}, batch)
    after = np.asarray(programs.reference(state["params"], prompts, drawn.tokens, drawn.mask))
    state, second = programs.step(state, {}, batch)
    return SimpleNamespace(targets=targets, after=after, first=metrics, second=second, old=drawn.log_probs)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_second_update_has_the_gradient_of_the_formula(moved, name):
    loss = lambda x: total(grpo_loss(Scores(x), moved.targets, GRPOLoss(**OPTIONS[name]))[0])  # noqa: E731
    at = lambda x, which: formula(  # noqa: E731
        which, *(np.asarray(a, np.float64) for a in (x, moved.old)), moved.targets.loss_mask,
        moved.targets.advantages, moved.targets.ref_log_probs, moved.targets.row_weight,
    )  # fmt: skip
    ours = np.asarray(quick_jit(jax.grad(loss))(moved.after)) * moved.targets.loss_mask
    wanted = at(moved.after, name)
    np.testing.assert_allclose(ours, wanted, rtol=2e-4, atol=1e-6)
    if name != "kl":  # the option acts: without it the gradient is another one
        plain = lambda x: total(grpo_loss(Scores(x), moved.targets, GRPOLoss(**WIDE))[0])  # noqa: E731
        assert np.abs(np.asarray(quick_jit(jax.grad(plain))(moved.after)) - ours).max() > 1e-3 * np.abs(ours).max()


def test_the_ratio_is_one_at_the_first_update_and_moves_at_the_second(moved):
    log_ratio = np.abs(moved.after - moved.old)[moved.targets.loss_mask]
    assert log_ratio.max() > 0.01
    assert float(moved.first["clip_ratio/region_mean"]) == 0
    assert float(moved.first["sampling/sampling_logp_difference/max"]) < 1e-4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss.epsilon_high": 0.28}, "config.loss.epsilon_high=0.28 would change nothing: .*minibatches"),
        ({"loss.delta": 2.0}, "config.loss.delta=2.0 would change nothing"),
        ({"loss.surrogate": "sapo", "loss.sapo_temperature_positive": 2.0}, "rollout_epochs"),
        ({"loss.ratio_level": "sequence"}, "config.loss.ratio_level='sequence' would change nothing"),
        ({"loss.surrogate": "cispo"}, "config.loss.surrogate='cispo' would change nothing"),
        ({"loss.importance_cap": 2.0}, "config.loss.importance_cap=2.0 would change nothing: .*top_k"),
        ({"loss.beta": 0.0, "loss.kl_ratio_correction": True}, "kl_ratio_correction=True .* set config.loss.beta"),
        ({"loss.type": "dapo", "loss.aggregation": "token_mean"}, "config.loss.type=dapo decides it"),
        ({"train.minibatches": 3, "loss.surrogate": "clipped"}, "config.train.minibatches=3 must divide the 32 prom"),
        ({"train.rollout_epochs": 2}, "surrogate='on_policy' .* choose clipped"),
        ({"advantages.scale": "none", "advantages.ddof": 0}, "config.advantages.ddof=0 would change nothing"),
    ],
)
def test_what_cannot_act_is_refused_with_what_would_let_it_act(fields, message):
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    if any(name in ("loss.epsilon_high", "loss.delta") for name in fields):
        config.loss.surrogate = "clipped"
        config.loss.type = ""
    for name, value in fields.items():
        group, _, field = name.partition(".")
        config[group][field] = value

    def check():
        check_config(config)
        step_layout(read(config, "train"), GRPO.group(config), make_mesh(devices=jax.devices()[:1]))

    with pytest.raises(ValueError, match=message):
        check()


@pytest.mark.parametrize(
    ("fields", "acts"),
    [
        ({"rollout.top_k": 50}, True), ({"rollout.top_p": 0.9}, True), ({"loss.full_softmax": True}, True),
        ({"rollout.temperature": 0.9, "loss.temperature": 1.0}, True), ({"rollout.temperature": 0.9}, False),
    ],
)  # fmt: skip
def test_importance_sampling_acts_where_tokens_are_drawn_from_another_distribution_than_is_scored(fields, acts):
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    config.update_from_flattened_dict({**fields, "loss.importance_cap": 2.0})
    if acts:
        check_config(config)
    else:
        with pytest.raises(ValueError, match="importance_cap=2.0 would change nothing"):
            check_config(config)


def test_they_act_with_several_updates():
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    config.train.rollout_epochs = 2
    config.loss.update({"surrogate": "clipped", "epsilon_high": 0.28, "delta": 2.0, "ratio_level": "sequence"})
    check_config(config)


@pytest.mark.slow
def test_killed_between_two_updates_of_one_batch_with_the_next_in_flight(launcher, tmp_path):
    """Of a batch without one in flight see test_resampling.py."""
    whole_run, parts = tmp_path / "whole", tmp_path / "parts"
    options = (
        *runs.TINY, *TWICE, "--config.train.steps=6", "--config.checkpoint.every=1", "--config.rollout.ahead=1",
        "--config.optimizer.schedule.peak=1e-3",
    )  # fmt: skip
    launcher.run(whole_run, *options)
    process = launcher.start(parts, *options)
    assert runs.stop_when(process, lambda: runs.steps_written(parts) >= 3, signal.SIGKILL) == -signal.SIGKILL
    output = launcher.run(parts, *options)
    assert "4 updates on each batch of prompts" in output and "resuming" in output
    runs.assert_same_result(parts, whole_run)
    records = runs.metrics_without_times(whole_run)[1:]
    assert ["reward" in record for record in records] == [True, False, False, False, True, False]
    assert [record["learning_rate"] for record in records] == sorted(
        (record["learning_rate"] for record in records), key=float, reverse=True
    )


MOVED = 2
ON_DEVICES = """
import sys, jax, numpy as np
from tests.helpers.rounding import moved
from rrft_jax.config.command_line import load_config
from rrft_jax.rewards import Pool, symbolic
from rrft_jax.run.clock import Clock
from rrft_jax.training.parameters import combine
from rrft_jax.training.setup import set_up
from rrft_jax.training.step import make_state
micro, data, fsdp, tensor, times = map(int, sys.argv[1:6])  # times: how often it starts from neighbouring floats too
config = load_config("configs/grpo_counting.py:runlocal")
config.train.update({"prompts": 4, "minibatches": 2, "micro_batches": micro, "steps": 3})
config.rollout.update({"group": 4, "max_completion_length": 24})
config.loss.update({"surrogate": "clipped"})
config.optimizer.schedule.update({"peak": 1e-3})
config.mesh.update({"data": data, "fsdp": fsdp, "tensor": tensor})
with Pool(initializer=symbolic.load) as pool, Clock() as clock:
    run, trainable = set_up(config, pool)
    with jax.set_mesh(run.mesh):
        start = jax.tree.map(np.array, trainable)
        for seed in range(times + 1):
            here = moved(start, seed) if seed else start
            here = jax.tree.map(lambda x, of: jax.device_put(x, of.sharding), here, trainable)
            state = make_state(here, run.programs.optimizer, run.mesh)
            feed = run.algorithm.feed(run, clock, 0, None)
            for step in range(3):
                batch, _, _ = feed.take(combine(state["params"], run.frozen), step)
                state, metrics = run.programs.step(state, run.frozen, batch)
                feed.work_ahead()
                print(float(metrics["grad_norm"]), float(metrics["policy_loss"]), float(metrics["kl"]))
"""


@pytest.mark.slow
def test_micro_batches_and_devices_change_nothing():
    assert_devices_change_nothing(ON_DEVICES, ((2, 1, 1, 1), 1), ((0, 2, 2, 2), 8))  # on eight a part splits its groups


def assert_devices_change_nothing(script, *others):
    """script: ON_DEVICES or one made of it. others: (micro-batches and mesh, count of devices). All three updates are
    those of one device, but for what rounding does to them on this machine."""
    one, *neighbours = numbers(run_on_devices(script, 1, 1, 1, 1, MOVED, count=1))
    assert len(neighbours) == MOVED and one.shape == (3, 3) and one[:, 0].min() > 1e-3  # answers fit, some are right
    slack = np.abs(np.array(neighbours) - one).max((0, 1))  # of the gradient's norm, the loss, KL
    for shape, count in others:
        (other,) = numbers(run_on_devices(script, *shape, 0, count=count))
        assert_same_but_rounding(list(other.T), list(one.T), list(slack))


def numbers(text):
    """float[runs, 3 updates, 3]"""
    lines = [line.split() for line in text.splitlines()]
    rows = [[float(x) for x in line] for line in lines if len(line) == 3 and line[0][0].isdigit()]
    return np.array(rows).reshape(-1, 3, 3)
