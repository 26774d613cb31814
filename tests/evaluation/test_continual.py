"""RIF-RFT's instance filter and the measures of continual post-training, by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rrft_jax.data.example import Example
from rrft_jax.data.instances import Counts, check_kept, keeps, read_counts
from rrft_jax.evaluation import sequence
from rrft_jax.evaluation.forgetting import as_table, average_accuracy, forgetting_measure
from rrft_jax.evaluation.questions import Reply
from rrft_jax.evaluation.sequence import Measuring, run_sequence
from rrft_jax.rewards import registry
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.instances import count_right, histogram


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

    def answerer(questions, done):
        for question in (q for q in questions if q.id not in done):
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


def test_a_sequence_trains_each_task_from_the_one_before_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    tasks = tuple(get_task(name) for name in ("counting", "structure", "spatial"))
    table = {"nano": [20, 10, 0], "stage_1": [80, 10, 10], "stage_2": [70, 60, 10], "stage_3": [65, 55, 50]}
    trained = []

    def measured(checkpoint, base, folder, measuring, meter, announce):
        assert (base, folder) == ("nano", tmp_path / "b" if checkpoint == "nano" else Path(checkpoint) / "measured")
        row = zip(measuring.tasks, table[Path(checkpoint).name], strict=True)
        return {"tasks": {task.name: {"accuracy": value / 100, "kl": value / 10} for task, value in row}}

    def train(stage, init, folder):
        trained.append((stage, init))
        if stage == "structure" and len(trained) == 2:
            return 130
        folder.mkdir(exist_ok=True)
        (folder / "DONE").write_text('{"cpu_seconds": 1.5}')
        return 0

    monkeypatch.setattr(sequence, "measured", measured)
    said = []
    common = "nano", train, tmp_path, Measuring(tasks, 8), tmp_path / "b", dict, said.append
    run = lambda: run_sequence(["counting", "structure", "spatial"], *common)  # noqa: E731
    assert run() == 130 and not (tmp_path / "matrix.json").exists()
    assert run() == 0
    one, two = (str(tmp_path / f"stage_{n}") for n in (1, 2))
    assert trained[2:] == [("counting", "nano"), ("structure", one), ("spatial", two)]
    found = json.loads((tmp_path / "matrix.json").read_text())
    assert found["matrix"][2] == pytest.approx([65, 55, 50]) and found["forgetting_measure"] == pytest.approx(-10)
    assert found["training_cpu_seconds"] == [1.5, 1.5, 1.5]
    assert "| nothing | 20.00 | 10.00 | 0.00 |" in said[-1] and "forgetting measure -10.00" in said[-1]
    assert said[-1].endswith("structure 7.00 / 6.00 / 1.00; spatial 6.50 / 5.50 / 5.00")
    assert run_sequence(["all"], *common) == 0
    alone = json.loads((tmp_path / "matrix.json").read_text())  # one training on all tasks: nothing was learnt before
    assert alone["forgetting_measure"] is None and alone["average_accuracy"] == pytest.approx(100 / 3)
    with pytest.raises(ValueError, match="name each task once"):
        Measuring((tasks[0], tasks[0]), 8)
    with pytest.raises(ValueError, match="vqa: no benchmark with generated questions"):
        Measuring((get_task("vqa"),), 8)


@pytest.mark.parametrize("program", ["continual", "filter_instances"])
def test_the_programs_know_their_flags(program):
    command = [sys.executable, str(Path(__file__).parents[2] / "launch" / f"{program}.py"), "--helpshort"]
    said = subprocess.run(command, capture_output=True, text=True)
    assert f"launch/{program}.py" in said.stdout and not said.stderr
