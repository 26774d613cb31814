"""What is wrong with a run, from its metrics: once, in words, with a remedy.

`diagnose` is pure: the last metrics and the evaluations so far give findings. `Watch` feeds it step by step and tells
each finding once. A rule looks at several steps, because one step is noise; those of a metric that a run does not log
never speak.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

WINDOW = 20  # sampled batches that `Watch` keeps
ENOUGH = 10  # right answers: were 6 of 10 kept in truth, 9 of 10 would be in 1 of 20 samples


@dataclass(frozen=True)
class Threshold:
    """value: the limit of a rule's quantity. steps: over how many steps. why: where the limit comes from."""

    value: float
    steps: int
    why: str


THRESHOLDS: Mapping[str, Threshold] = MappingProxyType({
    "no_spread": Threshold(0.95, 10, "a group of equal rewards has advantage 0: fewer than 1 prompt in 20 teaches"),
    "format_stuck": Threshold(0.01, 15, "an answer form in fewer than 1 of 100 completions is too rare to reinforce"),
    "kl_explodes": Threshold(1.0, 5, "1 nat per token: the reference gives each token e times less than the policy"),
    "entropy_collapsed": Threshold(0.01, 10, "0.01 nats per token: the likeliest token has about 99.9 %"),
    "cut_off": Threshold(0.9, 5, "with 9 of 10 cut, answers at the end are missing and rewards compare beginnings"),
    "duplicates": Threshold(0.9, 10, "9 of 10 completions have an equal in their group, which says what one would say"),
    "reward_errors": Threshold(0.0, 5, "a time-out happens; missing values in each of 5 steps are a fault"),
    "held_out_falls": Threshold(2.0, 10, "2 standard errors: chance does as much in 1 of 40 comparisons"),
    "image_unread": Threshold(1e-4, 1, "rounding moves a token by less than 1e-4 nats, another picture by far more"),
    "image_unneeded": Threshold(
        0.9, 3, "of right answers to questions of 2 outcomes another picture leaves about half right, of more fewer"
    ),
})  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """name: of the rule. step: at which it was first seen. text: what is wrong, and what to do."""

    name: str
    step: int
    text: str

    def line(self) -> str:
        return f"[step {self.step}] warning: {self.text}"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of the first held-out set, with the training rewards of the steps before it (of the first
    evaluation, which may be that of the base, also of the steps after it), and images/right, /still_right and
    /log_prob_change of it."""

    step: int
    accuracy: float
    questions: float
    rewards: tuple[float, ...]
    right: float = 0.0
    still_right: float = 0.0
    change: float = math.nan


def diagnose(records: Sequence[Mapping[str, float]], evaluations: Sequence[Evaluation] = ()) -> list[Finding]:
    """The findings at the last of `records`, which are metrics of steps in order."""
    if not records:
        return []
    found = []
    for name, look in _RULES.items():
        text = look(records, evaluations, THRESHOLDS[name])
        if text:
            found.append(Finding(name, int(records[-1]["step"]), text))
    return found


class Watch:
    """Takes a run's metrics step by step; `add` returns the findings that were not told before.

    group: completions of a prompt (config.rollout.group); one alone has no spread, and nothing is wrong with that.
    """

    def __init__(self, group: int = 2) -> None:
        self._records: deque[Mapping[str, float]] = deque(maxlen=WINDOW)
        self._evaluations: list[Evaluation] = []
        self._told: set[str] = set() if group > 1 else {"no_spread"}

    def add(self, record: Mapping[str, float], look: bool = True) -> list[Finding]:
        """record: metrics of a step, with "step". look: False: remembers it, for the next call."""
        if self._records and "reward" in self._records[-1] and "reward" not in record:
            self._records[-1] = {**self._records[-1], **record}  # a further update on the same completions
        else:
            self._records.append(record)
        steps, reward = THRESHOLDS["held_out_falls"].steps, record.get("reward", math.nan)
        if self._evaluations and len(self._evaluations[0].rewards) < steps and math.isfinite(reward):
            first = self._evaluations[0]
            self._evaluations[0] = replace(first, rewards=(*first.rewards, reward))
        if math.isfinite(record.get("eval/accuracy", math.nan)):
            rewards = tuple(_last(self._records, "reward", steps))
            questions = record.get("eval/questions", math.nan)
            kept = [record.get(f"images/{name}", 0.0) for name in ("right", "still_right")]
            images = (*kept, record.get("images/log_prob_change", math.nan))
            self._evaluations.append(
                Evaluation(int(record["step"]), record["eval/accuracy"], questions, rewards, *images)
            )
        if not look or len(self._told) == len(_RULES):
            return []
        new = [one for one in diagnose(list(self._records), self._evaluations) if one.name not in self._told]
        self._told |= {one.name for one in new}
        return new


def replay(records: Sequence[Mapping[str, float]], every: int = 1, group: int = 2) -> tuple[Watch, list[Finding]]:
    """A watch that has seen these metrics, and what it found. every: looks at each so-many-th record alone. group: as
    `Watch` has it."""
    watch = Watch(group)
    found = [f for k, record in enumerate(records) for f in watch.add(record, (k + 1) % every == 0)]
    return watch, found


def _last(records: Sequence[Mapping[str, float]] | deque, metric: str, steps: int) -> list[float]:
    """The last values of a metric, at most `steps`, in order; what is not finite counts as missing."""
    found: list[float] = []
    for record in reversed(records):
        value = record.get(metric)
        if value is not None and math.isfinite(value):
            found.append(value)
            if len(found) == steps:
                break
    return found[::-1]


def _full(records: Sequence[Mapping[str, float]], metric: str, limit: Threshold) -> np.ndarray | None:
    values = _last(records, metric, limit.steps)
    return np.array(values) if len(values) == limit.steps else None


def _no_spread(records: Sequence, evaluations: Sequence, limit: Threshold) -> str:
    values, rewards = _full(records, "frac_reward_zero_std", limit), _full(records, "reward", limit)
    if values is None or rewards is None or values.mean() < limit.value:
        return ""
    return (
        f"in {values.mean():.0%} of the groups of the last {limit.steps} steps all rewards are equal (mean "
        f"{rewards.mean():.3g}), so there is nothing to learn from. Where that is the lowest reward, the questions are "
        "too hard: easier ones, partial credit, or supervised fine-tuning first; where it is the greatest, harder "
        "ones. A larger config.rollout.group or config.rollout.temperature makes members differ"
    )


def _format_stuck(records: Sequence, evaluations: Sequence, limit: Threshold) -> str:
    values = _full(records, "rewards/format/mean", limit)
    if values is None or values.mean() > limit.value:
        return ""
    return (
        f"the format reward has been {values.mean():.3f} for {limit.steps} steps: the model hardly ever writes the "
        "form that is asked for. Check that the prompt shows it (config.prompt), that "
        "config.rollout.max_completion_length leaves room for it, and begin with supervised fine-tuning "
        "(configs/cot_sft.py, configs/reason_rft.py)"
    )


def _kl_explodes(records: Sequence, evaluations: Sequence, limit: Threshold) -> str:
    values = _full(records, "kl", limit)
    if values is None or np.median(values) < limit.value:
        return ""
    return (
        f"the KL to the reference is {np.median(values):.3g} nats per token (median of {limit.steps} steps): the "
        "policy has left what the model knew. Start again with a lower config.optimizer.schedule.peak, a longer "
        "config.optimizer.schedule.warmup_steps or a larger config.loss.beta; an earlier checkpoint may be better"
    )


def _entropy_collapsed(records: Sequence, evaluations: Sequence, limit: Threshold) -> str:
    values = _full(records, "entropy", limit)
    if values is None or values.mean() > limit.value:
        return ""
    return (
        f"the entropy is {values.mean():.2g} nats per token over {limit.steps} steps: the model writes the same text "
        "each time, and finds nothing new. Raise config.rollout.temperature or config.loss.entropy_coefficient, lower "
        "config.optimizer.schedule.peak, or, with several updates on a batch, raise config.loss.epsilon_high"
    )


def _cut_off(records: Sequence, evaluations: Sequence, limit: Threshold) -> str:
    values = _full(records, "completions/clipped_ratio", limit)
    if values is None or values.min() < limit.value:
        return ""
    return (
        f"{values.mean():.0%} of the completions of the last {limit.steps} steps were cut off before they ended. Raise "
        "config.rollout.max_completion_length; if they repeat themselves, lower config.rollout.temperature or give a "
        "reward for shorter answers (config.rewards.length)"
    )


def _duplicates(records: Sequence, evaluations: Sequence, limit: Threshold) -> str:
    values = _full(records, "completions/duplicate_ratio", limit)
    if values is None or values.mean() < limit.value:
        return ""
    return (
        f"{values.mean():.0%} of the completions of the last {limit.steps} steps equal another of their group, which "
        "costs time and teaches nothing more. Raise config.rollout.temperature, or set config.rollout.top_k to 0 and "
        "top_p to 1; a smaller config.rollout.group would do where answers are short"
    )


def _reward_errors(records: Sequence, evaluations: Sequence, limit: Threshold) -> str:
    values = _full(records, "reward_error", limit)
    if values is None or values.min() <= limit.value:
        return ""
    return (
        f"reward functions gave no value for {values.sum():.0f} completions of the last {limit.steps} steps, some in "
        "each of them, and their groups take no part. The log names example, error and line: repair the function, or "
        "let it return None or 0 for what it cannot judge"
    )


def _held_out_falls(records: Sequence, evaluations: Sequence[Evaluation], limit: Threshold) -> str:
    with_rewards = [one for one in evaluations if len(one.rewards) == limit.steps and one.questions > 0]
    if len(with_rewards) < 2 or "eval/accuracy" not in records[-1]:
        return ""
    best, last = max(with_rewards, key=lambda one: one.accuracy), with_rewards[-1]
    variance = sum(one.accuracy * (1 - one.accuracy) / one.questions for one in (best, last))
    noise = math.sqrt(np.var(best.rewards, ddof=1) / limit.steps + np.var(last.rewards, ddof=1) / limit.steps)
    fall, rise = best.accuracy - last.accuracy, np.mean(last.rewards) - np.mean(best.rewards)
    if fall <= 0 or rise <= 0 or fall <= limit.value * math.sqrt(variance) or rise <= limit.value * noise:
        return ""
    return (
        f"the training reward rises ({np.mean(best.rewards):.3g} -> {np.mean(last.rewards):.3g}) while held-out "
        f"accuracy falls ({best.accuracy:.1%} at step {best.step} -> {last.accuracy:.1%}): the model learns "
        "the records or the reward, not the task. Use the best checkpoint (config.checkpoint.keep_best), more or "
        "other records, fewer epochs, a larger config.loss.beta, and read completions of high reward in report.html"
    )


def _image_unread(records: Sequence, evaluations: Sequence[Evaluation], limit: Threshold) -> str:
    if "eval/accuracy" not in records[-1] or not evaluations[-1].change <= limit.value:
        return ""
    return (
        "the picture has no effect: with pictures exchanged between held-out questions, the log-prob of a token moves "
        f"by {evaluations[-1].change:.1g} nats at most. Look at the pictures in report.html (are they all alike, or "
        "blank?), at config.data.image_root and the columns that name them, and at config.processor.max_pixels"
    )


def _image_unneeded(records: Sequence, evaluations: Sequence[Evaluation], limit: Threshold) -> str:
    last = evaluations[-limit.steps :]
    right, kept = (sum(getattr(one, name) for one in last) for name in ("right", "still_right"))
    if "eval/accuracy" not in records[-1] or right < ENOUGH or kept < limit.value * right:
        return ""
    if _image_unread(records, evaluations, THRESHOLDS["image_unread"]):  # which says more
        return ""
    return (
        f"answers do not need the picture: of {right:.0f} right held-out answers {kept:.0f} stay right with the "
        "picture of another question. What is learned is to guess from the question. Take out records whose question "
        "tells the answer, balance the answers (records of the same question with other pictures and other answers), "
        "or ask of what only the picture shows"
    )


_RULES: Mapping[str, Callable[[Sequence, Sequence, Threshold], str]] = MappingProxyType({
    "no_spread": _no_spread, "format_stuck": _format_stuck, "kl_explodes": _kl_explodes,
    "entropy_collapsed": _entropy_collapsed, "cut_off": _cut_off, "duplicates": _duplicates,
    "reward_errors": _reward_errors, "held_out_falls": _held_out_falls, "image_unread": _image_unread,
    "image_unneeded": _image_unneeded,
})  # fmt: skip
