"""The published figures against what the tables themselves say: their averages, and the parts of a column."""

import pytest

from rrft_jax.evaluation.benchmarks import choose_benchmarks
from rrft_jax.evaluation.published import PARTS, ROWS, comparable

# The AVG columns of the older table, in its order: counting, structure, spatial.
AVERAGES = [
    (51.20, 46.83, 35.88), (49.65, 49.45, 22.77), (57.60, 37.09, 8.42), (18.30, 43.54, 5.33), (49.40, 60.64, 9.27),
    (54.90, 44.80, 16.45), (64.40, 51.60, 6.91), (9.90, 17.30, 8.47), (32.75, 33.23, 6.42), (57.20, 23.25, 4.35),
    (67.70, 36.92, 58.99), (66.00, 34.15, 50.14), (71.60, 40.09, 33.74), (74.00, 41.08, 67.58), (70.35, 43.59, 13.01),
    (64.45, 38.36, 63.77), (64.85, 41.75, 59.00), (76.20, 54.88, 56.68), (73.30, 54.26, 65.98),
]  # fmt: skip
# The newer table's counting average, a plain mean of three columns. It does not list LLaVA-OneVision.
NEWER_AVERAGES = [
    40.08, 43.13, 43.74, 15.22, None, 41.13, 47.48, 9.70, 27.84, 41.69, 50.82, 57.34, 53.87, 61.77, 52.64, 48.51, 55.41,
    61.40, 62.44,
]  # fmt: skip


def mean(*values):
    return sum(values) / len(values)


def scores(row, task):
    return [row.scores[b.name] for b in choose_benchmarks("all") if b.name.startswith(task)]


def test_every_row_agrees_with_the_published_averages_by_one_of_their_rules():
    none = []
    for row, (counting, structure, spatial) in zip(ROWS, AVERAGES, strict=True):
        assert counting == pytest.approx(mean(*scores(row, "counting")), abs=0.011)
        inside, left, right = scores(row, "spatial")
        rules = mean(inside, left, right), mean(left, right), mean(inside, mean(left, right))
        if not any(spatial == pytest.approx(rule, abs=0.011) for rule in rules):
            none.append((row.model, row.method, "spatial"))
        if structure != pytest.approx(mean(*scores(row, "structure")), abs=0.011):
            none.append((row.model, row.method, "structure"))
    assert [(model, task) for model, _, task in none] == [
        ("Gemini-1.5-Pro", "structure"), ("InternVL-2.5-8B", "structure"), ("Pixtral-12B", "spatial"),
    ]  # fmt: skip


def test_the_parts_of_the_newer_table_give_its_average_and_the_older_column():
    typos = []
    for row, average in zip(ROWS, NEWER_AVERAGES, strict=True):
        parts = [row.scores.get(part) for part in PARTS]
        if average is None:
            assert row.model == "LLaVA-OneVision-7B" and parts == [None, None]
            continue
        assert average == pytest.approx(mean(row.scores["counting_id"], *parts), abs=0.04 if row.note else 0.011)
        if row.scores["counting_ood"] != pytest.approx(0.75 * parts[0] + 0.25 * parts[1], abs=0.011):
            typos.append(row)
    assert [(row.model, row.method) for row in typos] == [("Qwen2-VL-2B", "ANS-SFT"), ("Qwen2-VL-2B", "Reason-RFT")]
    assert [row for row in ROWS if row.note] == typos


def test_published_rows_stand_beside_real_test_files_alone():
    assert comparable([]) == comparable(["something_else"]) == []
    shown = comparable(["spatial_left", "counting_ood"])
    assert len(shown) == len(ROWS) == 19 and sum(PARTS[1] in row.scores for row in shown) == 18
    assert set(shown[0].scores) == {"spatial_left", "counting_ood", *PARTS}
    assert set(comparable(["structure_id"])[0].scores) == {"structure_id"}
