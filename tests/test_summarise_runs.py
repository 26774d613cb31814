"""scripts/summarise_runs.py on runs made up by hand: the held-out sets of every task, and runs without any."""

import importlib.util
import json
from pathlib import Path

import pytest
from absl import app

SCRIPT = Path(__file__).parents[1] / "scripts" / "summarise_runs.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("summarise_runs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finished(workdir, records):
    workdir.mkdir()
    (workdir / "DONE").write_text('{"cpu_seconds": 1200.0}')
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return str(workdir)


def test_the_sets_of_the_task_are_shown_before_and_after(program, tmp_path, capsys):
    """Two runs from 20 to 50 and to 70 per cent: 60 after, 40 points more."""
    runs = [
        finished(tmp_path / str(end), [
            {"step": 0, "eval/accuracy": 0.2, "eval_left/accuracy": 0.1, "eval/mean_length": 18.0},
            {"step": 1, "loss": 1.0},
            {"step": 9, "eval/accuracy": end, "eval_left/accuracy": 0.3, "eval/mean_length": 100 * end},
        ])
        for end in (0.5, 0.7)
    ]  # fmt: skip
    program.main(["", *runs])
    out = capsys.readouterr().out
    assert "| in-domain: accuracy | 20.0 % (20.0, 20.0) | 60.0 % (50.0, 70.0) | +40.0 points |" in out
    assert "| in-domain: tokens of an answer | 18.0 (18.0, 18.0) | 60.0 (50.0, 70.0) | +42.0 |" in out
    assert "| from the left: accuracy | 10.0 % (10.0, 10.0) | 30.0 % (30.0, 30.0) | +20.0 points |" in out
    assert "out-of-domain" not in out and "CPU-seconds: 1,200, 1,200" in out


def test_a_run_without_evaluations_is_named(program, tmp_path):
    with pytest.raises(app.UsageError, match="never.* was never evaluated"):
        program.main(["", finished(tmp_path / "never", [{"step": 1, "loss": 1.0}])])
