"""Dynamic sampling: which groups are kept, that it ends, and a run killed in the middle of a gathered batch."""

import signal
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.config.command_line import load_config
from rrft_jax.parallel.layout import one_row_each
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.run.clock import Clock
from rrft_jax.training import feed
from rrft_jax.training.algorithms import resampling
from rrft_jax.training.algorithms.resampling import ResampledFeed, chosen_groups, teaching
from rrft_jax.training.rewarding import RewardResults
from rrft_jax.training.rollouts import Drawn, Scored
from rrft_jax.training.validate import check_config
from tests.training import runs

NAN = np.nan


def test_a_group_teaches_by_its_spread_and_not_by_its_mean():
    rewards = [[0, 1], [1, 1], [0.5, 0.5], [NAN, 1], [NAN, NAN], [0.1, 0.1 + 1e-6]]
    np.testing.assert_array_equal(teaching(np.array(rewards)), [True, False, False, False, False, True])


@given(teaches=st.lists(st.booleans(), min_size=4, max_size=12))
@settings(max_examples=30, deadline=None)
def test_the_first_groups_that_teach_are_taken(teaches):
    found = chosen_groups(np.array(teaches), 4)
    good = [i for i, each in enumerate(teaches) if each]
    assert len(set(found.tolist())) == 4 and sorted(found) == list(found)
    assert good[:4] == [i for i in found if teaches[i]]


def make_feed(clock, monkeypatch, rewards, seen, in_flight=None, draws=3):
    """Two prompts a batch, two members: prompt n earns rewards(n, member); a batch is the prompts it holds."""
    for module in (resampling, feed):
        monkeypatch.setattr(module, "by_prompt", lambda drawn: drawn.rollouts)

    def batch(numbers):
        return SimpleNamespace(numbers=np.array(numbers), layout=one_row_each(2))

    def draw(params, host, t, stored=None):
        seen.append((host.numbers.tolist(), stored is not None))
        tokens = host.numbers[:, None, None].repeat(2, 1)
        rollouts = stored or Rollouts(tokens, tokens > -1, tokens / 2, tokens / 3, tokens[..., 0] > -1)
        return Drawn(host, t, None, rollouts, None)

    def score(drawn, results=None):
        total = np.array([[rewards(n, g) for g in range(2)] for n in drawn.host.numbers.tolist()], np.float32)
        results = results or RewardResults(total[None], total, {"parse_fail": (1.0, 4.0)}, 1)
        assert drawn.rollouts.tokens[:, 0, 0].tolist() == drawn.host.numbers.tolist()
        np.testing.assert_array_equal(results.total, total)
        return Scored(drawn.host.numbers.tolist(), {"reward": 0.0}, [], results)

    fetch = lambda t: batch([2 * t, 2 * t + 1])  # noqa: E731
    batches = iter(fetch(t * draws) for t in range(4))
    return ResampledFeed(
        batches, draw, score, clock, fetch=fetch, pick=batch, draws=draws, members=2, in_flight=in_flight
    )


def test_groups_are_gathered_from_further_prompts_and_drawn_no_more_than_asked_for(monkeypatch, caplog):
    rewards = lambda n, g: float(g) if n in (1, 4, 6, 7) else float(n)  # noqa: E731  (others: equal, at any mean)
    seen: list = []
    with Clock() as clock:
        made = make_feed(clock, monkeypatch, rewards, seen)
        batch, metrics, _ = made.take("p", 0)
        assert batch == [1, 4] and seen == [([0, 1], False), ([2, 3], False), ([4, 5], False), ([1, 4], True)]
        assert metrics["resample/batches"] == 3 and metrics["resample/groups_with_spread"] == pytest.approx(2 / 6)
        assert made.in_flight().picks.tolist() == [1, 4] and made.in_flight().results.failures == 3
        assert made.in_flight().results.text_metrics == {"parse_fail": (3.0, 12.0)}
        stored = made.in_flight()
        made.work_ahead()
        assert made.take("p", 1)[0] == [6, 7] and len(seen) == 5  # all teach: nothing is drawn or copied again
        assert not caplog.records
        made.work_ahead()
        batch, metrics, _ = made.take("p", 2)  # none of 12 ... 17 teaches: it ends, with a warning
        assert batch == [12, 13] and metrics["resample/groups_with_spread"] == 0
        assert "of 6 groups in 3 draws the rewards of 0 differ, and 2 are wanted" in caplog.text
        seen.clear()
        again = make_feed(clock, monkeypatch, rewards, seen, stored)
        assert again.take("p", 0)[0] == [1, 4] and seen == [([1, 4], True)]


def test_what_it_cannot_be_combined_with():
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    config.rollout.update({"resample": 2, "ahead": 1})
    config.loss.surrogate = "clipped"
    with pytest.raises(ValueError, match="rollout.resample=2 .* leave one of them out"):
        check_config(config)
    config.rollout.ahead = 0
    config.loss.surrogate = "on_policy"
    check_config(config)
    config.loss.off_policy_threshold = 0.5
    with pytest.raises(ValueError, match="off_policy_threshold=0.5 would change nothing"):
        check_config(config)


@pytest.mark.slow
def test_killed_between_two_updates_of_a_gathered_batch(launcher, tmp_path):
    """With all of DAPO, and the truncated completions and sure tokens left out."""
    options = (
        *runs.TINY, "--config.train.steps=4", "--config.train.rollout_epochs=2", "--config.loss.surrogate=clipped",
        "--config.rollout.resample=2", "--config.checkpoint.every=1", "--config.loss.epsilon_high=0.28",
        "--config.loss.aggregation=token_mean", "--config.loss.mask_truncated=True", "--config.loss.top_entropy=0.5",
        "--config.rewards.soft_overlong=0.5", "--config.rewards.format=0.0", "--config.optimizer.schedule.peak=1e-3",
        "--config.eval.every=0",
    )  # fmt: skip
    whole_run, parts = tmp_path / "whole", tmp_path / "parts"
    launcher.run(whole_run, *options)
    process = launcher.start(parts, *options)
    assert runs.stop_when(process, lambda: runs.steps_written(parts) >= 1, signal.SIGKILL) == -signal.SIGKILL
    launcher.run(parts, *options)
    runs.assert_same_result(parts, whole_run)
    first = runs.metrics_without_times(whole_run)[1]
    assert 1 <= float(first["resample/batches"]) <= 3 and 0.3 < float(first["top_entropy"]) < 0.8
