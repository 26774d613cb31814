"""RIF-RFT's instance filter and the measures of continual post-training, by hand."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rrft_jax.data.example import Example
from rrft_jax.data.instances import Counts, check_kept, keeps, read_counts
from rrft_jax.evaluation.forgetting import as_table, average_accuracy, forgetting_measure
from rrft_jax.evaluation.instances import count_right, histogram
from rrft_jax.evaluation.questions import Reply
from rrft_jax.rewards import registry


def test_measures_by_hand():
    matrix = [[80], [70, 60], [65, 55, 50]]
    assert average_accuracy(matrix) == pytest.approx(56.667, abs=1e-3)
    assert forgetting_measure(matrix) == -10.0
    assert forgetting_measure([[80, 1, 2], [70, 60, 3], [65, 55, 50]]) == -10.0  # what lies above the diagonal is free
    assert (average_accuracy([[7]]), forgetting_measure([[7]])) == (7, 0.0)
    assert as_table(matrix, ["a", "b", "c"]).splitlines()[2:] == [
        "| a | 80.00 |  |  |", "| b | 70.00 | 60.00 |  |", "| c | 65.00 | 55.00 | 50.00 |", "",
        "average accuracy 56.67, forgetting measure -10.00",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="row 1 has 1 entries"):
        forgetting_measure([[80], [70]])


def test_a_record_stays_where_some_rollout_was_right():
    assert [keeps(Counts(n, 8)) for n in (0, 1, 8)] == [False, True, True]
    assert [keeps(Counts(n, 8), drop_always_right=True) for n in (0, 1, 7, 8)] == [False, True, True, False]
    check_kept("a", {"a": Counts(1, 8)}, False)
    with pytest.raises(ValueError, match="0 of 8 rollouts were right"):
        check_kept("a", {"a": Counts(0, 8)}, False)
    with pytest.raises(ValueError, match="no counts of it"):
        check_kept("b", {"a": Counts(0, 8)}, False)


def test_records_are_counted_once_and_the_file_goes_on_after_an_interruption(tmp_path):
    examples = [Example(name, "t", "?", gold) for name, gold in (("a", "4"), ("b", "\\frac{1}{2}"), ("c", "7"))]
    answers = {
        "a": ("<think>x</think>\\boxed{4}", "<think>x</think>\\boxed{5}"),
        "b": ("<think>x</think>\\boxed{\\frac{1}{2}}", "<think>x</think>\\boxed{0.5}"),
        "c": ("<think>x</think>\\boxed{8}", "7"),
    }
    asked = []

    def answerer(questions):
        for question in questions:
            if len(asked) == 2 and question.id == "c" and "stop" not in asked:
                asked.append("stop")
                raise KeyboardInterrupt
            asked.append(question.id)
            yield Reply(question.id, answers[question.id], (1, 1), (True, True))

    run = lambda: count_right(  # noqa: E731
        examples, lambda e: e.problem, answerer, registry.get("boxed_accuracy"), tmp_path
    )
    with pytest.raises(KeyboardInterrupt):
        run()
    counts = run()
    assert asked == ["a", "b", "stop", "c"]
    assert counts == {"a": (1, 2), "b": (2, 2), "c": (0, 2)} == read_counts(tmp_path / "rollouts.jsonl")
    assert histogram(counts).splitlines()[-1] == "2 of 3 records are kept: at least one rollout was right"
    first = json.loads((tmp_path / "rollouts.jsonl").read_text().splitlines()[0])
    assert first["texts"] == list(answers["a"]) and (first["correct_count"], first["total_count"]) == (1, 2)
    # The original's filter stops at the first brace that closes, and calls both rollouts of b wrong or right by chance.
    cut = score_b(registry.get("boxed_filter_paper"), examples[1], answers["b"])
    assert cut == [0.0, 1.0]
    (tmp_path / "bad.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(ValueError, match="bad.jsonl, line 1: no counts"):
        read_counts(tmp_path / "bad.jsonl")
    with pytest.raises(ValueError, match="none.jsonl cannot be read"):
        read_counts(tmp_path / "none.jsonl")


def score_b(reward, example, texts):
    return list(reward(list(texts), [example] * len(texts), [0] * len(texts), 0))


TRAIN = """
import pathlib, sys
of = dict(arg.removeprefix("--").split("=", 1) for arg in sys.argv[1:])
stage = pathlib.Path(of["workdir"])
stage.mkdir(parents=True, exist_ok=True)
with open(stage.parent / "trained.txt", "a") as log:
    print(of["config"], of["config.init"], of.get("config.loss.beta"), file=log)
if (stage.parent / "stop").exists() and stage.name == "stage_2":
    sys.exit(130)
(stage / "DONE").write_text("{}")
"""
EVALUATE = """
import json, pathlib, sys
of = dict(arg.removeprefix("--").split("=", 1) for arg in sys.argv[1:])
out = pathlib.Path(of["output"])
out.mkdir(parents=True, exist_ok=True)
stage = int(pathlib.Path(of["checkpoint"]).name[-1])
table = [[80, 10, 10], [70, 60, 10], [65, 55, 50]]
value = table[stage - 1][["counting_id", "structure_id", "spatial_id"].index(of["benchmark"])]
(out / (of["benchmark"] + ".json")).write_text(json.dumps({"exact": {"mean": value / 100}}))
"""


def test_a_sequence_trains_each_task_from_the_one_before_and_goes_on_where_it_stopped(tmp_path):
    root = Path(__file__).parents[2]
    shutil.copy(root / "launch" / "continual.py", tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "evaluate.py").write_text(EVALUATE)
    (tmp_path / "seq").mkdir()
    command = [sys.executable, "continual.py", f"--workdir={tmp_path / 'seq'}", "--", "--config.loss.beta=0"]
    run = lambda: subprocess.run(  # noqa: E731
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    (tmp_path / "seq" / "stop").touch()
    assert run().returncode == 130 and not (tmp_path / "seq" / "matrix.json").exists()
    (tmp_path / "seq" / "stop").unlink()
    done = run()
    assert done.returncode == 0, done.stderr
    trained = (tmp_path / "seq" / "trained.txt").read_text().splitlines()
    assert trained[-3:] == [
        "configs/continual.py:counting nano 0", f"configs/continual.py:structure {tmp_path}/seq/stage_1 0",
        f"configs/continual.py:spatial {tmp_path}/seq/stage_2 0",
    ]  # fmt: skip
    found = json.loads((tmp_path / "seq" / "matrix.json").read_text())
    assert found["matrix"][2] == pytest.approx([65, 55, 50]) and found["forgetting_measure"] == pytest.approx(-10)
    assert "average accuracy 56.67, forgetting measure -10.00" in done.stdout
