"""The table of an evaluation: averages from the columns, published rows only next to whole real files."""

from rrft_jax.evaluation.benchmarks import Benchmark
from rrft_jax.evaluation.report import table
from rrft_jax.tasks import Column, Task


def numbers(mean, source="published", limit=0):
    score = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "count": 10, "unscored": 0}
    about = {"source": source, "limit": limit, "skipped": []}
    return {**about, "paper_score": score, "strict_score": {**score, "mean": mean / 2, "low": 0.0, "high": mean}}


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


COLUMNS = {"counting_id": 0.5, "counting_ood": 0.3, "spatial_left": 0.2}
RESULTS = {name: numbers(mean) for name, mean in COLUMNS.items()}


def generated(results):
    return {name: {**n, "source": "generated"} for name, n in results.items()}


def test_columns_and_their_means():
    """Mean of 50 and 30: 40; its half width sqrt(10² + 10²) / 2 = 7.07. A single column of a task has no mean."""
    lines = table(generated(RESULTS), "ours").splitlines()
    assert cells(lines[0]) == ["", "counting_id", "counting_ood", "counting mean", "spatial_left"]
    assert cells(lines[2]) == ["ours, paper_score", "50.0 [40.0, 60.0]", "30.0 [20.0, 40.0]", "40.0 [32.9, 47.1]",
                               "20.0 [10.0, 30.0]"]  # fmt: skip
    assert cells(lines[3])[:2] == ["ours, strict_score", "25.0 [0.0, 50.0]"] and len(lines) == 4


def test_published_rows_average_their_columns_and_say_what_is_wrong_in_them():
    text = table(RESULTS, "ours")
    rows = {row[0]: row[1:] for row in map(cells, text.splitlines()) if row}
    assert len(rows) == 2 + 2 + 19
    assert rows["Qwen2-VL-2B Reason-RFT (published)"] == ["96.80", "51.20", "74.00", "64.05"]
    assert "Qwen2-VL-2B Reason-RFT: counting_ood is 51.20 here and 52.10 by its parts" in text
    assert "by its parts" not in table({"spatial_left": numbers(0.2)}, "ours")


def test_published_rows_stand_in_the_columns_of_whole_files_and_skipped_records_are_told():
    mixed = RESULTS | {"counting_id": numbers(0.5, limit=10), "spatial_left": numbers(0.2) | {"skipped": ["a", "b"]}}
    text = table(mixed, "ours")
    rows = {row[0]: row[1:] for row in map(cells, text.splitlines()) if row}
    assert rows["Qwen2-VL-2B Reason-RFT (published)"] == ["", "51.20", "", "64.05"]
    assert "spatial_left: 2 of its records could not be used (spatial_left.json lists them)." in text


def test_published_rows_do_not_stand_beside_a_file_that_was_answered_in_part():
    mixed = RESULTS | {"counting_id": numbers(0.5) | {"unanswered": {"q1": "500: down", "q2": "not asked"}}}
    text = table(mixed, "ours")
    rows = {row[0]: row[1:] for row in map(cells, text.splitlines()) if row}
    assert rows["Qwen2-VL-2B Reason-RFT (published)"] == ["", "51.20", "", "64.05"]
    assert "counting_id: 2 of its questions have no answer yet (counting_id.json lists them)." in text


def test_a_metric_of_the_whole_set_is_a_row_in_its_own_unit():
    mine = {"counting_id": numbers(0.5) | {"set_metrics": {"mAP": 0.25}}, "counting_ood": numbers(0.3)}
    lines = table(generated(mine), "ours").splitlines()
    assert cells(lines[4]) == ["ours, mAP", "0.25", "", ""]


def test_columns_of_a_task_from_outside_the_package_are_known_to_the_table():
    columns = tuple(Column(name=name, title=name) for name in ("own_a", "own_b"))
    task = Task(name="own", templates={}, prompts={}, benchmarks=columns)
    results = generated({"own_a": numbers(0.5), "own_b": numbers(0.3)})
    lines = table(results, "ours", [Benchmark(task, column) for column in columns]).splitlines()
    assert cells(lines[0]) == ["", "own_a", "own_b", "own mean"] and cells(lines[2])[3].startswith("40.0")
