"""The rules of docs/miniature.md, on results made up by hand."""

import pytest

from rrft_jax.evaluation.claims import CLAIMS, Finding, claims_table, compare, verdict
from rrft_jax.evaluation.reproduction import table_tasks


@pytest.mark.parametrize(
    ("ours", "theirs", "sign"),
    [
        ([50.0, 51, 52], [40.0, 41, 42], 1),  # 10 points; s = 1 twice, so that the standard error is 0.82
        ([40.0, 41, 42], [50.0, 51, 52], -1),
        ([42.0, 43, 44], [40.0, 41, 42], 0),  # two points are not more than two
        ([42.1, 43.1, 44.1], [40.0, 41, 42], 1),
        ([40.0, 45, 50], [38.0, 41, 44], 0),  # 4 points; s = 5 and 3: the standard error is 3.4
    ],
)
def test_a_difference_counts_beyond_two_points_and_two_standard_errors(ours, theirs, sign):
    assert compare(ours, theirs) == sign


@pytest.mark.parametrize(
    ("holds", "expected"),
    [([1, 1, 0], "shown"), ([1, 1, 1], "shown"), ([1, 1, -1], "not shown"), ([1, 0, 0], "not shown"), ([1, 1], "")],
)
def test_two_tasks_of_three_and_no_reverse(holds, expected):
    assert verdict([Finding(h, "") for h in holds]) == expected


def result(task, method, seed, in_domain, out, curve=(), lengths=(), rewards=()):
    score = lambda value: {"strict_score": {"mean": (value + seed) / 100}}  # noqa: E731
    columns = table_tasks()[task].benchmarks
    training = {
        "held_out": [{"step": 10 * i, "eval/accuracy": a, "eval/questions": 100.0} for i, a in enumerate(curve)],
        "series": {name: [[i + 1, v] for i, v in enumerate(values)]
                   for name, values in (("length", lengths), ("task reward", rewards))},
    }  # fmt: skip
    return {
        "task": task, "method": method, "seed": seed, "training": training,
        "benchmarks": {c.name: score(in_domain if c.domain == "in" else out) for c in columns},
    }  # fmt: skip


def table(zero_curve=(0.4, 0.3, 0.39, 0.5)):
    results = []
    for task in table_tasks():
        for seed in range(3):
            results += [
                result(task, "zero_shot", seed, 30, 30),
                result(task, "ans_sft", seed, 40, 40, (0.4, 0.41)),
                result(task, "cot_sft", seed, 60, 20),
                result(task, "reason_rft_zero", seed, 50, 30, zero_curve, (10, 30, 40), (0.1, 0.1, 0.5)),
                result(task, "reason_rft", seed, 61, 30),
            ]
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in claims_table(results).splitlines()[2:]]
    assert [row[0] for row in rows] == [claim.text for claim in CLAIMS]
    return rows


def test_each_claim_is_decided_from_its_cells():
    beats, rft, out, data, gap, order = table()
    assert beats[1:] == ["yes: 51.0 against 41.0, 31.0"] * 3 + ["shown"]
    assert rft[1:] == ["no: 62.0 against 61.0"] * 3 + ["not shown"]
    # Zero is beaten by ANS-SFT: the reverse, although Reason-RFT beats CoT-SFT.
    assert out[1:] == ["the reverse: 31.0 against 41.0; 31.0 against 21.0"] * 3 + ["not shown"]
    assert data[1:] == ["yes: 39.0 against 41.0"] * 3 + ["shown"]  # 39 is more than 95 % of 41
    assert gap[1:] == ["yes: in 3 of 3 seeds"] * 3 + ["shown"]
    assert order[1:] == ["yes: length at step 2, accuracy at step 3"] * 3 + ["shown"]


@pytest.mark.parametrize(
    ("curve", "holds"),
    [
        ((0.4, 0.29, 0.41), "yes"),  # 0.11 is more than two standard errors of 0.049
        ((0.4, 0.31, 0.41), "no"),
        ((0.4, 0.29, 0.39), "no"),  # never back
    ],
)
def test_a_gap_is_a_fall_that_is_made_good(curve, holds):
    assert table(curve)[4][1].startswith(f"{holds}:")


def test_cells_that_are_missing_decide_nothing():
    results = [result("counting", method, seed, 50, 50) for method in ("reason_rft", "cot_sft") for seed in range(2)]
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in claims_table(results).splitlines()[2:]]
    assert rows[1][1] == "no: 50.5 against 50.5" and rows[1][-1] == "" and not any(rows[0][1:])
    assert claims_table(results[:1]) == ""
