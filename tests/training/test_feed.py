"""One step ahead: which parameters draw what, and a run that is killed with completions in flight."""

import signal
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.parallel.layout import Layout
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.rewards import Pool, symbolic
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.run.clock import Clock
from rrft_jax.training import rollouts, setup
from rrft_jax.training.feed import InFlight, RolloutFeed
from rrft_jax.training.parameters import combine
from rrft_jax.training.preset_choice import settle_preset
from rrft_jax.training.step import make_state
from rrft_jax.training.validate import check_config
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.training import runs

AHEAD = ("--config.rollout.ahead=1", "--config.loss.surrogate=clipped")


def fake_feed(clock, start=0, in_flight=None):
    """Five host batches; a batch says which parameters drew it and who judged it."""

    def draw(params, host, t, stored=None):
        return SimpleNamespace(host=host, t=t, by=stored or params)

    def score(drawn, results=None):
        return SimpleNamespace(ready=lambda: ((drawn.by, drawn.host, drawn.t, results), {}, []))

    return RolloutFeed(iter(range(start, 5)), draw, score, clock, ahead=True, in_flight=in_flight)


def test_each_step_trains_on_what_the_parameters_before_the_last_update_drew():
    with Clock() as clock:
        feed = fake_feed(clock)
        for t, drew in enumerate(("p0", "p0", "p1", "p2", "p3")):
            assert feed.take(f"p{t}", t)[0] == (drew, t, t, None)
            feed.work_ahead()
        assert feed.in_flight() is None  # nothing follows the last step


def test_what_was_in_flight_is_neither_drawn_nor_scored_again():
    with Clock() as clock:
        feed = fake_feed(clock, 3, InFlight("p2", "stored"))
        assert feed.take("p3", 3)[0] == ("p2", 3, 3, "stored")
        feed.work_ahead()
        assert feed.take("p4", 4)[0] == ("p3", 4, 4, None)


@pytest.mark.parametrize(("rows", "split"), [(4, 1), (8, 2), (6, 2), (3, 1)])
def test_completions_in_flight_come_back_on_other_rows(rows, split):
    """Three prompts with four members, on rows with padding and without, and on more rows than wrote them."""
    members = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    mesh = make_mesh(devices=jax.devices()[:1])
    stored = Rollouts(members, members > 7, members / 2.0, members / 3.0, members[..., 0] > 9)
    stored = jax.tree.map(lambda x: x.astype(np.float32) if x.dtype == float else x.astype(np.int32), stored)
    layout = Layout(3, rows, split, np.arange(rows), np.ones(rows, bool))
    placed = rollouts._on_rows(stored, layout, mesh)
    assert placed.tokens.shape == (rows, 4 // split, 5)
    host = SimpleNamespace(layout=layout, row_weight=(layout.prompt_of < 3).astype(np.float32))
    back = rollouts.by_prompt(rollouts.Drawn(host, 0, None, placed, None))
    jax.tree.map(np.testing.assert_array_equal, back, stored)


def test_a_loss_that_takes_every_batch_for_on_policy_is_refused():
    config = load_config(runs.GRPO)
    config.rollout.ahead = 1
    with pytest.raises(ValueError, match="config.loss.surrogate='on_policy'"):
        check_config(config)
    config.loss.type = "grpo"
    assert "config.loss.type=grpo decides the aggregation" in settle_preset(config)
    check_config(config)
    config.rollout.ahead = 2
    with pytest.raises(ValueError, match="config.rollout.ahead=2"):
        check_config(config)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_old_log_probs_are_those_of_the_parameters_that_drew(temperature):
    config = load_config(runs.GRPO)
    config.update({"train": {"steps": 3, "prompts": 2, "micro_batches": 1}, "eval": {"examples": 0}})
    config.rollout.update({"ahead": 1, "temperature": temperature, "max_completion_length": 8, "group": 4})
    config.loss.update({"surrogate": "clipped", "epsilon_low": 1e-4, "epsilon_high": 1e-4})  # a move of any size counts
    config.optimizer.schedule.update({"peak": 1e-2, "warmup_steps": 0})
    with Pool(initializer=symbolic.load) as pool, Clock() as clock:
        run, trainable = setup.set_up(config, pool)
        with jax.set_mesh(run.mesh):
            state = make_state(trainable, run.programs.optimizer, run.mesh)
            feed = run.algorithm.feed(run, clock, 0, None)
            past, clipped = [], []
            for t in range(3):
                past.append(jax.tree.map(np.array, combine(state["params"], run.frozen)))
                batch, _, _ = feed.take(combine(state["params"], run.frozen), t)
                mask = np.asarray(batch.token_mask)
                old = np.asarray(batch.targets.old_log_probs)[mask]
                score = lambda params: np.asarray(run.programs.reference(params, *parts))[mask]  # noqa: B023, E731
                parts = batch.prompts, batch.tokens, batch.token_mask
                drew = past[max(t - 1, 0)]
                slack = rounding(score, drew)
                assert_same_but_rounding(np.asarray(batch.targets.sampling_log_probs)[mask], old, slack)
                assert_same_but_rounding(score(drew), old, slack)
                # Without weight decay, groups of equal rewards alone would leave the parameters as they are.
                advantages = np.linspace(-1, 1, batch.targets.advantages.size, dtype=np.float32)
                object.__setattr__(batch.targets, "advantages", advantages.reshape(batch.targets.advantages.shape))
                state, metrics = run.programs.step(state, run.frozen, batch)
                feed.work_ahead()
                assert (np.abs(score(past[t]) - old).max() > 1e-3) == (t > 0)
                clipped.append(float(metrics["clip_ratio/region_mean"]))
            assert clipped[0] == 0 < max(clipped)


@pytest.mark.slow
def test_killed_with_completions_in_flight(launcher, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = (*runs.TINY, *AHEAD, "--config.optimizer.schedule.peak=1e-3")
    launcher.run(whole, *options)
    process = launcher.start(parts, *options)
    assert runs.stop_when(process, lambda: runs.steps_written(parts) >= 3, signal.SIGKILL) == -signal.SIGKILL
    output = launcher.run(parts, *options)
    assert f"resuming {parts} at step 2 of {runs.STEPS}" in output
    # Restored completions lie on the devices like drawn ones.
    assert output.count("Compiling jit(step)") == 1
    runs.assert_same_result(parts, whole)


@pytest.mark.slow
def test_without_learning_it_is_the_run_that_is_not_ahead(launcher, tmp_path):
    options = (*runs.TINY, "--config.optimizer.schedule.peak=0")
    launcher.run(tmp_path / "ahead", *options, *AHEAD)
    launcher.run(tmp_path / "behind", *options)
    for ahead, behind in zip(*map(runs.metrics_without_times, (tmp_path / "ahead", tmp_path / "behind")), strict=True):
        assert {name.split("/")[0] for name in ahead.keys() - behind.keys()} <= {"clip_ratio"}
        for name in behind:
            # This metric is the rounding itself by which sampler and trainer differ.
            near = 5e-5 if name.startswith("sampling/sampling_logp_difference") else 1e-5
            assert float(ahead[name]) == pytest.approx(float(behind[name]), rel=1e-4, abs=near, nan_ok=True), name
