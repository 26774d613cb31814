import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rrft_jax.evaluation.statistics import (
    Estimate,
    average,
    bootstrap,
    estimate,
    maj_at_k,
    majority,
    pass_at_k,
    wilson,
)


def test_wilson_by_hand():
    # z = 1.96: 3 of 10 is (0.3 + 0.19208 ± 1.96 sqrt(0.021 + 0.009604)) / 1.38416, 0 of 10 ends at z² / (10 + z²).
    assert wilson(3, 10) == pytest.approx((0.10779, 0.60322), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-4)


@settings(deadline=None)
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_is_scipys(case, level):
    successes, count = case
    theirs = stats.binomtest(successes, count).proportion_ci(level, method="wilson")
    low, high = wilson(successes, count, level)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= low <= successes / count <= high <= 1 and low < high


def test_bootstrap_is_seeded_and_close_to_scipys():
    values = np.random.default_rng(1).choice([0.0, 0.25, 0.5, 1.0], size=300)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=2).confidence_interval
    assert bootstrap(values) == pytest.approx(theirs, abs=0.004)
    assert bootstrap(values) == bootstrap(values) == bootstrap(values[::-1]) != bootstrap(values, seed=1)
    assert bootstrap([0.5, 0.5]) == (0.5, 0.5)


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.choice([0.0, 0.25, 0.5, 1.0], p=[0.2, 0.3, 0.1, 0.4], size=(200, 100))
    intervals = [bootstrap(row, resamples=500, seed=i) for i, row in enumerate(draws)]
    covered = sum(low <= 0.525 <= high for low, high in intervals)
    assert 0.88 * 200 <= covered <= 199


def test_estimate_chooses_the_interval_and_counts_what_has_no_result_as_wrong():
    assert estimate([1, 0, 0, 1.0]) == Estimate(0.5, *wilson(2, 4), 4)
    assert estimate([1, None, 0, 1.0]) == Estimate(0.5, *wilson(2, 4), 4, unscored=1)
    partial = estimate([1.0, 0.5, None, 0.0])
    assert (partial.mean, partial.count, partial.unscored) == (0.375, 4, 1)
    assert (partial.low, partial.high) == bootstrap([1.0, 0.5, 0.0, 0.0])
    for bad in ([], [1.5], [float("nan")], [-0.1]):
        with pytest.raises(ValueError, match="one score in"):
            estimate(bad)


def test_average_is_of_the_columns_and_combines_their_intervals():
    columns = [Estimate(0.8, 0.7, 0.85, 100), Estimate(0.2, 0.15, 0.3, 50, unscored=2)]
    found = average(columns)
    assert (found.mean, found.count, found.unscored) == (0.5, 150, 2)
    assert found.low == pytest.approx(0.5 - math.sqrt(0.01 + 0.0025) / 2)
    assert found.high == pytest.approx(0.5 + math.sqrt(0.0025 + 0.01) / 2)
    alone = average(columns[:1])
    assert (alone.mean, alone.low, alone.high) == pytest.approx((0.8, 0.7, 0.85))
    with pytest.raises(ValueError, match="no columns"):
        average([])


def test_average_covers_the_true_mean():
    rng, truth = np.random.default_rng(0), (0.9, 0.4, 0.1)
    hits = 0
    for _ in range(400):
        found = average([estimate(rng.random(60) < p) for p in truth])
        hits += found.low <= np.mean(truth) <= found.high
    assert hits / 400 >= 0.92


def test_pass_at_k_by_hand():
    # Two of four right: of the six pairs one holds none of them.
    assert pass_at_k(4, 2, 2) == pytest.approx(5 / 6)
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(5, 0, 5) == 0.0 and pass_at_k(5, 1, 5) == 1.0 and pass_at_k(5, 3, 3) == 1.0
    for bad in ((4, 2, 5), (4, 5, 1), (4, 2, 0), (0, 0, 1), (4, -1, 1)):
        with pytest.raises(ValueError, match="pass@k"):
            pass_at_k(*bad)


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_share_of_all_subsets(right, data):
    k = data.draw(st.integers(1, len(right)))
    subsets = [any(subset) for subset in itertools.combinations(right, k)]
    assert pass_at_k(len(right), sum(right), k) == pytest.approx(sum(subsets) / len(subsets))


def test_majority_by_hand():
    assert majority(["3", "4", "4"]) == 1
    assert majority(["4", "3", "3", "4"]) == 0  # a tie goes to the first
    assert majority([None, None, "5"]) == 2  # no answer is no vote
    assert majority([None]) is None and majority([]) is None
    assert maj_at_k(["3", "4", "4"], [0.0, 1.0, 1.0], 3) == 1.0
    assert maj_at_k(["3", "4", "4"], [0.0, 1.0, 1.0], 2) == 0.0
    assert maj_at_k([None, None], [0.0, 0.0], 2) == 0.0
    for k in (0, 2):
        with pytest.raises(ValueError, match="maj@k"):
            maj_at_k(["1"], [1.0], k)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=9))
def test_no_answer_has_more_votes_than_the_majority(answers):
    chosen = majority(answers)
    if chosen is None:
        assert set(answers) == {None}
        return
    most = answers.count(answers[chosen])
    rivals = {answer for answer in answers if answer is not None and answers.count(answer) == most}
    assert all(answers.count(a) <= most for a in set(answers) - {None})
    assert chosen == min(answers.index(rival) for rival in rivals)
