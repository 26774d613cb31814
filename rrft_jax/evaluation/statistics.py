"""Means with intervals, and scores of several answers to one question. Scores and bounds are shares, not per cent."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval. count: questions; unscored: those without a score, which count as wrong."""

    mean: float
    low: float
    high: float
    count: int
    unscored: int = 0


def estimate(scores: Sequence[float | None], *, level: float = LEVEL, seed: int = 0) -> Estimate:
    """The mean of N scores in [0, 1], with Wilson's interval where all are 0 or 1, else a bootstrap over questions.

    None (a check that overran) counts as 0, as in the published scorer, so that the mean is over the same questions
    for every model. ValueError for no scores or one outside [0, 1].
    """
    values = np.array([0.0 if score is None else score for score in scores], np.float64)
    if not len(values) or not ((values >= 0) & (values <= 1)).all():  # NaN fails both
        raise ValueError(f"estimate: one score in [0, 1] or more is needed, got {len(values)}: {values[:5]}")
    if np.isin(values, (0.0, 1.0)).all():
        low, high = wilson(int(values.sum()), len(values), level)
    else:
        low, high = bootstrap(values.tolist(), level=level, seed=seed)
    return Estimate(float(values.mean()), low, high, len(values), sum(score is None for score in scores))


def wilson(successes: int, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a share p = k/n: (p + z²/2n ± z sqrt(p (1 - p)/n + z²/4n²)) / (1 + z²/n).

    Wilson 1927, "Probable inference, the law of succession, and statistical inference". It stays within [0, 1] and is
    no point at 0 or n successes, where the usual p ± z·se is.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    p, shrink = successes / count, 1 + z * z / count
    middle = (p + z * z / (2 * count)) / shrink
    half = z * math.sqrt(p * (1 - p) / count + (z / (2 * count)) ** 2) / shrink
    # At the ends the bound is the share itself; rounding would miss it.
    return (0.0 if successes == 0 else middle - half), (1.0 if successes == count else middle + half)


def bootstrap(
    values: Sequence[float], *, level: float = LEVEL, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap of a mean (Efron 1979): quantiles of the means of `resamples` draws with replacement."""
    distinct, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
    n = counts.sum()
    # How often each distinct value is drawn is multinomial: distributed as n drawn values, without storing them.
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    low, high = np.quantile(drawn @ distinct / n, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def average(columns: Sequence[Estimate]) -> Estimate:
    """The plain mean of several columns' means.

    Interval: each side's distance is the root of the summed squares of the columns' distances (Zou and Donner 2008,
    "Construction of confidence limits about effect measures: a general approach"), which keeps Wilson's asymmetry.
    It takes the columns for independent: of columns over the same scenes it is too narrow.
    """
    if not columns:
        raise ValueError("average: no columns")
    n, mean = len(columns), math.fsum(c.mean for c in columns) / len(columns)
    below = math.sqrt(sum((c.mean - c.low) ** 2 for c in columns)) / n
    above = math.sqrt(sum((c.high - c.mean) ** 2 for c in columns)) / n
    return Estimate(mean, mean - below, mean + above, sum(c.count for c in columns), sum(c.unscored for c in columns))


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The chance that one of k answers, drawn from the n sampled without replacement, is right:
    1 - C(n-c, k) / C(n, k), unbiased (Chen et al. 2021, "Evaluating Large Language Models Trained on Code", eq. 1)."""
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        raise ValueError(f"pass@k: need 1 <= k <= samples and 0 <= correct <= samples, got {k=} {samples=} {correct=}")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def majority(answers: Sequence[Hashable | None]) -> int | None:
    """The place of the first answer of the most frequent kind, of equally frequent ones that which appears first.

    None stands for no answer and has no vote; None is returned where nothing else is there.
    """
    votes = Counter(answer for answer in answers if answer is not None)  # in order of first appearance
    return answers.index(max(votes, key=votes.__getitem__)) if votes else None


def maj_at_k(answers: Sequence[Hashable | None], scores: Sequence[float | None], k: int) -> float | None:
    """The score of the answer that most of the first k samples give; 0.0 where none of them gives one."""
    if not 1 <= k <= len(answers):
        raise ValueError(f"maj@k: need 1 <= k <= samples, got {k=} samples={len(answers)}")
    chosen = majority(answers[:k])
    return 0.0 if chosen is None else scores[chosen]
