"""Score completions with several weighted rewards, as TRL does: the total is the weighted sum of what is there."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rrft_jax.answers.tags import extract_answer
from rrft_jax.rewards import registry, symbolic
from rrft_jax.rewards.calling import call_all
from rrft_jax.rewards.format import is_lenient, is_strict
from rrft_jax.rewards.values import Weighted
from rrft_jax.rewards.waiting import Waiter

if TYPE_CHECKING:
    from rrft_jax.data.example import Example
    from rrft_jax.rewards.pool import Pool

_log = logging.getLogger(__name__)
_LOGGED_PER_CALL = 3


@dataclass(frozen=True)
class Failure:
    """A completion that a reward could not score: which, why, and the text that caused it."""

    reward: str
    position: int
    example_id: str
    reason: str
    text: str


@dataclass(frozen=True)
class Scored:
    """Rewards of N completions by F functions.

    names: F names. values: float64[F, N], NaN where a function gave none. total: float64[N], the weighted sum over
    the functions that gave a value, NaN where none did. failures: all that went wrong, in order.
    unscored: positions where a function whose weight is not 0 failed: their total compares with no other.
    metrics: name -> (sum, count), to be added up over hosts and divided at the end.
    """

    names: tuple[str, ...]
    values: np.ndarray
    total: np.ndarray
    failures: tuple[Failure, ...]
    unscored: tuple[int, ...]
    metrics: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class RewardSet:
    """The rewards of a recipe. Names must differ and weights be finite. waiter: awaits those that are coroutines."""

    rewards: tuple[Weighted, ...]
    waiter: Waiter = field(default_factory=Waiter, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [item.name for item in self.rewards]
        if not names:
            raise ValueError("RewardSet: no rewards; name at least one, such as accuracy")
        if len(set(names)) < len(names):
            raise ValueError(f"RewardSet: names must differ, got {names}")
        for item in self.rewards:
            if not math.isfinite(item.weight):
                raise ValueError(f"RewardSet: weight of {item.name} must be finite, got {item.weight}")

    def only(self, *names: str) -> "RewardSet":
        """Those of these names."""
        return replace(self, rewards=tuple(item for item in self.rewards if item.name in names))

    def score(
        self, completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
    ) -> Scored:
        """Apply every reward to N completions; group_ids tell which of them answer the same prompt."""
        sizes = {"completions": len(completions), "examples": len(examples), "group_ids": len(group_ids)}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"score: one example and group id per completion are needed, got {sizes}")
        columns = call_all(self.rewards, self.waiter, completions, examples, group_ids, step)
        failures = tuple(
            Failure(item.name, i, examples[i].id, why, completions[i])
            for item, column in zip(self.rewards, columns, strict=True)
            for i, why in sorted(column.errors.items())
        )
        _report(failures, len(completions))
        values = np.array([[np.nan if v is None else v for v in column] for column in columns], np.float64)
        total = combine(values, [item.weight for item in self.rewards])
        names = tuple(item.name for item in self.rewards)
        metrics = text_metrics(completions) | {
            f"parse_fail/{name}": (float(len(column.unread)), float(len(completions)))
            for name, column in zip(names, columns, strict=True)
            if column.unread is not None
        }
        weighted = {item.name for item in self.rewards if item.weight}
        unscored = tuple(sorted({f.position for f in failures if f.reward in weighted}))
        return Scored(names, values, total, failures, unscored, metrics)


def reward_set(
    weights: Mapping[str, float],
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    pool: "Pool | None" = None,
) -> RewardSet:
    """A set of registered rewards by name, e.g. {"accuracy": 1.0, "format": 1.0}.

    options: keyword options by reward name, e.g. {"length": {"count_tokens": f}}.
    pool: where symbolic checks run, under its time limit; without one they run here, without a limit.
    """
    options = options or {}
    stray = sorted(set(options) - set(weights))
    if stray:
        raise ValueError(f"reward_set: options for rewards that are not used: {stray}; used are {sorted(weights)}")
    items = []
    for name, weight in weights.items():
        chosen = dict(options.get(name, {}))
        if pool is not None and "verify" in registry.options(name):
            chosen.setdefault("verify", symbolic.in_pool(pool))
        items.append(Weighted(name, registry.get(name, **chosen), float(weight)))
    return RewardSet(tuple(items))


def combine(values: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """float64[F, N] with NaN for None, F weights -> float64[N]: sum of weight*value over what is there.

    A function of weight 0 is only logged: that it gave a value makes no total, unless all weights are 0.
    """
    column = np.asarray(weights, np.float64)[:, None]
    present = ~np.isnan(values)
    counted = present & (column != 0) if column.any() else present
    return np.where(counted.any(axis=0), np.sum(np.where(counted, values, 0.0) * column, axis=0), np.nan)


def text_metrics(completions: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Shares of well-formed completions under both format rules, and of those in which no answer is found."""
    count = float(len(completions))
    return {
        "format/strict": (float(sum(map(is_strict, completions))), count),
        "format/lenient": (float(sum(map(is_lenient, completions))), count),
        "parse_fail": (float(sum(extract_answer(text) is None for text in completions)), count),
    }


def _report(failures: Sequence[Failure], count: int) -> None:
    for failure in failures[:_LOGGED_PER_CALL]:
        _log.warning(
            "reward %s gave no value for example %s: %s\n  text: %r",
            failure.reward, failure.example_id, failure.reason, failure.text,
        )  # fmt: skip
    if len(failures) > _LOGGED_PER_CALL:
        _log.warning("%d reward values missing among %d completions", len(failures), count)
