"""The miniature's cells and report, from results made up by hand."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.evaluation import reproduction
from rrft_jax.evaluation.reproduction import METHODS, Cell, cells, read_results, run_cell, table_tasks
from rrft_jax.evaluation.reproduction_report import cost_table, gap_table, score_table, write_reproduction
from rrft_jax.run.metrics import make_record


def score(mean):
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "count": 4, "unscored": 0}


def result(task, method, seed, scores, training=None):
    names = {"counting": ("counting_id", "counting_ood"), "structure": ("structure_id", "structure_ood")}[task]
    both = lambda mean: {"strict_score": score(mean), "paper_score": score(mean / 2)}  # noqa: E731
    benchmarks = {name: both(mean) for name, mean in zip(names, scores, strict=True)}
    return {
        "task": task, "method": method, "seed": seed, "questions": 4, "benchmarks": benchmarks,
        "training": training or {}, "evaluation_cpu_seconds": 10.0,
    }  # fmt: skip


def curve(accuracies, prompts=8):
    held_out = [{"step": 10 * i, "eval/accuracy": a, "eval/questions": 4.0} for i, a in enumerate(accuracies)]
    steps = [[i + 1, float(i)] for i in range(4)]
    series = {"length": steps, "task reward": steps, "format reward": steps}
    return {"cpu_seconds": 100.0, "prompts": prompts, "held_out": held_out, "series": series}


RESULTS = [
    result("counting", "zero_shot", 0, (0.4, 0.2)),
    result("counting", "reason_rft_zero", 0, (0.6, 0.3), curve([0.4, 0.1, 0.5])),
    result("counting", "reason_rft_zero", 1, (0.8, 0.5), curve([0.4, 0.3, 0.2])),
    result("counting", "reason_rft", 0, (0.7, 0.4), curve([0.5, 0.6]) | {"stage1": curve([0.4, 0.5], prompts=16)}),
]


def test_cells_come_seed_by_seed_and_unknown_names_are_refused():
    found = cells(["counting"], list(METHODS), [0, 1])
    assert [c.seed for c in found] == [0] * 5 + [1] * 5 and found[0].name == "counting/zero_shot-seed0"
    with pytest.raises(ValueError, match="countng: not one of counting, structure, spatial"):
        cells(["countng"], ["zero_shot"], [0])


def test_a_cell_is_its_mean_over_seeds_with_interval_and_range():
    """Seeds 60 and 80: mean 70, mean bounds 60 and 80; the task's mean over columns is (45 + 65) / 2 = 55."""
    lines = score_table(RESULTS, "strict_score").splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == ["", "counting_id", "counting_ood", "counting mean"]
    rows = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in lines[2:]}
    assert rows["Reason-RFT-Zero"] == ["70.0 [60.0, 80.0] (60.0, 80.0)", "40.0 [30.0, 50.0] (30.0, 50.0)",
                                       "55.0 (45.0, 65.0)"]  # fmt: skip
    assert rows["zero-shot"] == ["40.0 [30.0, 50.0]", "20.0 [10.0, 30.0]", "30.0"] and list(rows)[0] == "zero-shot"


def test_costs_and_gaps():
    """Seed 0: from 40 to 10 at step 10, back at 20. Seed 1: from 40 to 20, never back."""
    gaps = [[c.strip() for c in line.split("|")[1:-1]] for line in gap_table(RESULTS).splitlines()[2:]]
    assert gaps == [
        ["counting", "eval", "0", "40.0", "30.0", "10", "20", "50.0"],
        ["counting", "eval", "1", "40.0", "20.0", "20", "never", "20.0"],
    ]
    costs = [[c.strip() for c in line.split("|")[1:-1]] for line in cost_table(RESULTS).splitlines()[2:]]
    assert ["counting", "Reason-RFT", "200", "10"] in costs and costs[-1][2] == "330"


def test_the_report_is_the_same_bytes_each_time_and_draws_its_figures(tmp_path):
    once = write_reproduction(RESULTS, tmp_path)
    figures = {p.name: p.read_bytes() for p in tmp_path.glob("*.svg")}
    assert set(figures) == {"data_efficiency.svg", "length.svg", "rewards.svg"}
    assert write_reproduction(RESULTS, tmp_path) == once == (tmp_path / "table.md").read_text()
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.svg")} == figures
    assert "![Mean rewards over steps of GRPO](rewards.svg)" in once


def test_a_done_cell_is_not_worked_on_and_a_stopped_one_has_no_result(tmp_path, monkeypatch):
    cell, said, trained = Cell("counting", "ans_sft", 0), [], []

    def train(cell, workdir):
        trained.append(workdir)
        return 143

    work = lambda: run_cell(cell, train, tmp_path / "w", tmp_path / "r", 4, said.append)  # noqa: E731
    assert work() == 143 and trained == [tmp_path / "w" / "counting" / "ans_sft-seed0" / "run"]
    assert not list((tmp_path / "r").rglob("*.json")) and read_results(tmp_path / "r") == []

    def finish(cell, workdir):
        workdir.mkdir(parents=True)
        (workdir / "DONE").write_text('{"cpu_seconds": 5.0}')
        rewards = {"accuracy": 1.0, "format_paper": 1.0, "length": 0.0}
        (workdir / "config.json").write_text(json.dumps({"train": {"prompts": 8}, "rewards": rewards}))
        lines = [
            {"step": 0, "eval/accuracy": 0.25, "eval/accuracy_reasoned": math.nan},
            {"step": 1, "loss": 2.0, "rewards/accuracy/mean": 0.5, "rewards/format_paper/mean": 1.0},
            {"step": 2, "loss": math.inf},
        ]
        (workdir / "metrics.jsonl").write_text(
            "".join(json.dumps(make_record(line.pop("step"), line, 0.0)) + "\n" for line in lines)
        )
        return 0

    asked = {"counting_id": {"strict_score": score(0.5)}}
    (tmp_path / "w" / cell.name / "evaluation").mkdir(parents=True)
    monkeypatch.setattr(reproduction, "_evaluate", lambda *_: asked)
    assert run_cell(cell, finish, tmp_path / "w", tmp_path / "r", 4, said.append) == 0
    (stored,) = read_results(tmp_path / "r")
    assert stored["benchmarks"] == asked and stored["prompt"] == "ans" and stored["questions"] == 4
    training = stored["training"]
    assert training["held_out"] == [{"step": 0, "eval/accuracy": 0.25, "eval/accuracy_reasoned": None}]
    assert training["cpu_seconds"] == 5.0
    assert training["series"] == {"loss": [[1, 2.0]], "task reward": [[1, 0.5]], "format reward": [[1, 1.0]]}
    trained.clear()
    assert work() == 0 and not trained  # its result is there
    with pytest.raises(ValueError, match=r"ans_sft-seed0.json was made with questions 4, today's is 5, which would"):
        run_cell(cell, train, tmp_path / "w", tmp_path / "r", 5, said.append)
    monkeypatch.setattr(reproduction, "fingerprint", lambda *_: "0123")
    with pytest.raises(ValueError, match=r"ans_sft-seed0.json was made with base \w+, today's is 0123"):
        work()


CHILD = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from rrft_jax.config.command_line import load_config
from rrft_jax.evaluation import reproduction
from rrft_jax.evaluation.questions import Reply

def make_answerer(*_, **__):
    def answer(questions):
        end = time.process_time() + float(sys.argv[3])
        while questions and time.process_time() < end:
            pass
        for question in questions:
            print(question.id, flush=True)
            yield Reply(question.id, ("<answer>3</answer>",), (3,), (True,))
            time.sleep(float(sys.argv[2]))
    return answer

if __name__ == "__main__":  # the workers that score import this file
    reproduction.make_answerer = make_answerer
    reproduction.load_parts = lambda *_: (SimpleNamespace(config=None), None)
    reproduction.load_for_inference = lambda *_: None
    cell, folder = reproduction.Cell("counting", "zero_shot", 0), Path(sys.argv[1])
    sys.exit(reproduction.run_cell(cell, None, folder / "w", folder / "r", 8, lambda text: None))
"""


@pytest.mark.slow
def test_a_cell_killed_in_its_evaluation_goes_on_without_repeating_or_losing_a_question(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    root = Path(__file__).parents[2]

    def start(pause, work=0):
        command = [sys.executable, str(tmp_path / "child.py"), str(tmp_path), str(pause), str(work)]
        env = {**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
        return subprocess.Popen(command, env=env, cwd=root, stdout=subprocess.PIPE, text=True)

    # It works for a while, hands over one answer and begins the pause before the next.
    killed = start(3600, work=10)
    first = killed.stdout.readline().strip()
    file = tmp_path / "w" / "counting" / "zero_shot-seed0" / "evaluation" / "counting_id.jsonl"
    cost = file.with_name("spent.json")
    noted = lambda: json.loads(cost.read_text())["cpu_seconds"] if cost.exists() else 0  # noqa: E731
    while killed.poll() is None and noted() < 10:
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not list((tmp_path / "r").rglob("*.json"))
    again, _ = (second := start(0)).communicate()
    asked = again.split()
    assert second.returncode == 0 and first not in asked and len(asked) == len(set(asked)) == 15
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == [first, *asked[:7]]
    (stored,) = read_results(tmp_path / "r")
    assert [b["questions"] for b in stored["benchmarks"].values()] == [8, 8]
    # What the killed session had cost counts too: alone, the second one needs about two seconds.
    assert stored["evaluation_cpu_seconds"] > 10
    done, _ = (third := start(0)).communicate()
    assert third.returncode == 0 and done == ""


def test_every_task_and_method_has_its_config():
    configs = Path(__file__).parents[2] / "configs"
    for alias, task in table_tasks().items():
        for recipe in filter(None, (method.recipe for method in METHODS.values())):
            assert load_config(f"{configs / recipe}.py:{alias}").task == task.name
    assert np.all([m.prompt in ("zero_shot", "ans", "cot") for m in METHODS.values()])


def test_the_cells_of_the_repository_are_those_of_its_report(tmp_path):
    """docs/results also holds other results; the report of the table is what its cells give today."""
    folder = Path(__file__).parents[2] / "docs" / "results"
    results = read_results(folder)
    assert len(results) == len(table_tasks()) * len(METHODS) * 3
    assert write_reproduction(results, tmp_path) == (folder / "table.md").read_text()
