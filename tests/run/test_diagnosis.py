"""Each finding from metrics made by hand, and none from metrics of a healthy run."""

import dataclasses

import pytest

from rrft_jax.run import diagnosis
from rrft_jax.run.diagnosis import THRESHOLDS, Watch, diagnose, replay

HEALTHY = {
    "reward": 1.0, "frac_reward_zero_std": 0.3, "rewards/format/mean": 0.8, "kl": 0.08, "entropy": 0.1,
    "completions/clipped_ratio": 0.0, "completions/duplicate_ratio": 0.4, "reward_error": 0.0,
}  # fmt: skip
# Rule: the metric that provokes it, the value that does, one that just does not, and words of the remedy.
PROVOKED = {
    "no_spread": ("frac_reward_zero_std", 0.96, 0.94, "rollout.group"),
    "format_stuck": ("rewards/format/mean", 0.0, 0.02, "cot_sft"),
    "kl_explodes": ("kl", 1.5, 0.9, "optimizer.schedule.peak"),
    "entropy_collapsed": ("entropy", 0.001, 0.02, "rollout.temperature"),
    "cut_off": ("completions/clipped_ratio", 0.95, 0.85, "max_completion_length"),
    "duplicates": ("completions/duplicate_ratio", 0.95, 0.85, "rollout.temperature"),
    "reward_errors": ("reward_error", 1.0, 0.0, "repair the function"),
}


def records(steps, start=1, **changed):
    return [{"step": step, **HEALTHY, **changed} for step in range(start, start + steps)]


@pytest.mark.parametrize("name", PROVOKED)
def test_a_finding_comes_once_at_the_first_step_that_shows_it(name):
    metric, bad, fair, remedy = PROVOKED[name]
    steps = THRESHOLDS[name].steps
    assert diagnose(records(40)) == [] and diagnose(records(40, **{metric: fair})) == []
    assert diagnose(records(steps - 1, **{metric: bad})) == []
    _, found = replay(records(40, **{metric: bad}))
    assert [(one.name, one.step) for one in found] == [(name, steps)]
    assert remedy in found[0].text and found[0].line().startswith(f"[step {steps}] warning: ")
    assert diagnose(records(40, **{metric: None})) == diagnose(records(40, **{metric: float("nan")})) == []


def test_a_prompt_with_one_completion_has_no_spread_and_nothing_is_wrong():
    assert replay(records(40, frac_reward_zero_std=1.0), group=1)[1] == []


def test_one_good_step_among_cut_off_ones_is_enough():
    lines = records(4, **{"completions/clipped_ratio": 1.0}) + records(1, 5)
    assert replay(lines + records(4, 6, **{"completions/clipped_ratio": 1.0}))[1] == []


def test_reward_that_rises_while_held_out_accuracy_falls():
    def run(accuracies, rise, base=None):
        lines = [] if base is None else [{"step": 0, "eval/accuracy": base, "eval/questions": 256.0}]
        for block, accuracy in enumerate(accuracies):
            lines += [
                {"step": 10 * block + k, "reward": 1.0 + rise * block + 0.01 * (k % 3)} for k in range(1, 11)
            ]
            lines[-1] |= {"eval/accuracy": accuracy, "eval/questions": 256.0}
        return replay(lines)[1]

    found = run([0.5, 0.6, 0.58, 0.4], 0.2)
    assert [(one.name, one.step) for one in found] == [("held_out_falls", 40)]
    assert "60.0% at step 20 -> 40.0%" in found[0].text
    assert run([0.5, 0.6, 0.58, 0.55], 0.2) == []  # 5 points of 256 questions are noise
    assert run([0.5, 0.6, 0.58, 0.4], 0.0) == []  # the training reward does not rise
    found = run([0.4, 0.4], 0.2, base=0.6)  # whose rewards are those of the first steps
    assert [(one.name, one.step) for one in found] == [("held_out_falls", 20)]
    assert "(1.01 -> 1.21)" in found[0].text and "60.0% at step 0 -> 40.0%" in found[0].text
    assert run([0.4, 0.4], 0.0, base=0.6) == run([0.4], 0.2, base=0.6) == []


def evaluated(*images):
    """The findings of evaluations with these (right, still right, change of log-prob)."""
    names = "images/right", "images/still_right", "images/log_prob_change"
    lines = [
        {"step": k, "eval/accuracy": 0.5, "eval/questions": 64.0, **dict(zip(names, values, strict=True))}
        for k, values in enumerate(images)
    ]
    return [(one.name, one.step) for one in replay(lines)[1]]


def test_answers_that_do_not_need_their_picture():
    assert evaluated((0.0, 0.0, 1e-5)) == [("image_unread", 0)]
    assert evaluated((20.0, 20.0, 1e-5)) == [("image_unread", 0)]  # which says more
    assert evaluated((20.0, 18.0, 0.3)) == [("image_unneeded", 0)]
    assert evaluated((4.0, 4.0, 0.3), (4.0, 4.0, 0.3), (4.0, 4.0, 0.3)) == [("image_unneeded", 2)]
    assert evaluated((9.0, 9.0, 0.3)) == [] == evaluated((20.0, 17.0, 0.3))
    assert evaluated((20.0, 5.0, 2e-4)) == []


def test_a_resumed_run_does_not_repeat_what_it_said():
    watch, found = replay(records(12, kl=3.0))
    assert len(found) == 1 and watch.add({"step": 13, **HEALTHY, "kl": 3.0}) == []
    assert Watch().add({"step": 1, "loss": 1.0}) == []  # SFT logs none of this


def test_every_rule_has_a_limit_with_its_reason():
    assert set(diagnosis._RULES) == set(THRESHOLDS) == {*PROVOKED, "held_out_falls", "image_unread", "image_unneeded"}
    assert all(dataclasses.astuple(limit)[2] for limit in THRESHOLDS.values())
    assert max(limit.steps for limit in THRESHOLDS.values()) <= diagnosis.WINDOW


def test_further_updates_on_a_batch_are_no_further_steps():
    lines = []
    for step in range(1, 401):
        line = {"step": step, "entropy": 0.1, "kl": 0.1}
        lines.append(line if step % 16 != 1 else {**HEALTHY, **line, "reward_error": 2.0})
    _, found = replay(lines)
    assert [(one.name, one.step) for one in found] == [("reward_errors", 65)]  # the fifth batch of 16 updates
