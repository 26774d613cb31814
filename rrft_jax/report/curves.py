"""Which curves are drawn together, and how few points show a curve of many."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rrft_jax.run.metrics import RESERVED

POINTS = 1200  # of one curve in the page: two for each pixel of a chart's width

# Title, and the metrics that share its chart; a metric goes where it fits first. What fits nowhere has its own chart,
# and what fits the last is in none.
CHARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Reward", ("reward",)),
    ("Reward by function", ("rewards/*/mean",)),
    ("Held-out accuracy", ("eval*/accuracy",)),
    ("Held-out score, with partial credit", ("eval*/score",)),
    ("Held-out format", ("eval*/format",)),
    ("Held-out answers that reason", ("eval*/reasons",)),
    ("Held-out length (tokens)", ("eval*/mean_length",)),
    ("Completion length (tokens)", ("completions/mean_length", "completions/max_length", "completions/min_length")),
    ("Completions cut off (share)", ("completions/clipped_ratio",)),
    ("Groups without spread (share)", ("frac_reward_zero_std",)),
    ("Equal completions in a group (share)", ("completions/duplicate_ratio",)),
    ("KL to the reference", ("kl", "kl_k1")),
    ("Entropy (nats per token)", ("entropy",)),
    ("Clip ratios", ("clip_ratio/*", "cispo_clip_ratio")),
    ("Loss", ("loss", "policy_loss", "cross_entropy", "value_loss")),
    ("Gradient norm", ("grad_norm",)),
    ("Learning rate", ("learning_rate",)),
    ("Spread of the rewards", ("reward_std", "reward_group_std")),
    ("Spread by function", ("rewards/*/std",)),
    ("Format and unread answers (share)", ("format/*", "parse_fail*")),
    ("Completions that reason (share)", ("completions/reasons",)),
    ("Missing rewards, skipped updates", ("reward_error", "update_skipped")),
    ("Held-out accuracy by kind of answer", ("eval*/accuracy_*",)),
    ("Terminated length (tokens)", ("completions/*_terminated_length",)),
    ("Sampler against trainer", ("sampling/*",)),
    ("Time of a step (s)", ("step_time", "between_steps", "timing/data", "timing/rollout", "timing/reward",
                            "timing/batch", "timing/update")),
    ("Devices idle (share)", ("timing/idle_share",)),
    ("Tokens per second", ("tokens_per_second",)),
    ("", ("eval*/questions",)),
)  # fmt: skip


def metric_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Metric -> float64[n] steps and values of those that are finite, and how many were not."""
    out, steps = {}, np.array([record["step"] for record in records], np.float64)
    for name in dict.fromkeys(name for record in records for name in record if name not in RESERVED):
        values = [record.get(name) for record in records]
        y = np.array(values, np.float64)  # NaN where there is none
        finite = np.isfinite(y)
        out[name] = steps[finite], y[finite], len(values) - values.count(None) - int(finite.sum())
    return out


def thinned(x: np.ndarray, y: np.ndarray, most: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` + 2 of n points: the first, the last, and of each of most / 2 equal parts the least and the
    greatest, so that no peak is lost."""
    if len(x) <= most:
        return x, y
    parts = np.split(np.arange(len(x)), np.linspace(0, len(x), most // 2 + 1).astype(int)[1:-1])
    kept = sorted({0, len(x) - 1} | {part[find(y[part])] for part in parts for find in (np.argmin, np.argmax)})
    return x[kept], y[kept]


def charts(runs: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray, int]]]) -> list[dict[str, Any]]:
    """The charts of several runs: title, and series with run (its number), metric, x and y."""
    found: dict[tuple[int, str], list[dict]] = {}
    for run, metrics in enumerate(runs):
        for name, (x, y, missing) in sorted(metrics.items()):
            if len(x) or missing:
                x, y = thinned(x, y)
                series = {"run": run, "name": name, "x": _short(x), "y": _short(y), "missing": missing}
                found.setdefault(_chart_of(name), []).append(series)
    return [{"title": title, "series": series} for (_, title), series in sorted(found.items()) if title]


def _chart_of(name: str) -> tuple[int, str]:
    """The place and the title of the chart of a metric."""
    for place, (title, patterns) in enumerate(CHARTS):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            return place, title
    return len(CHARTS), name


def _short(values: np.ndarray) -> list[float]:
    """Plain numbers of six digits, whole ones as integers."""
    rounded = (float(f"{v:.6g}") if abs(v) < 1e6 else v for v in values.tolist())
    return [int(v) if v.is_integer() and abs(v) < 2**53 else v for v in rounded]
