"""The command of the miniature: what it trains, where a quick try goes, and that a killed one resumes."""

import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver

from rrft_jax.evaluation.reproduction import METHODS, Cell, table_tasks
from rrft_jax.run.resume import resume_hint
from rrft_jax.training import stages
from tests.training import runs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program():
    known = set(flags.FLAGS)
    spec = importlib.util.spec_from_file_location("reproduce", ROOT / "launch" / "reproduce.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    flags.FLAGS.mark_as_parsed()
    yield module
    flags.FLAGS.unparse_flags()  # other programs define flags of the same names
    flags.FLAGS.remove_flag_values({name: flags.FLAGS[name] for name in set(flags.FLAGS) - known})


@pytest.fixture
def trained(program, monkeypatch):
    calls = []
    monkeypatch.setattr(stages, "run", lambda *given, began: calls.append(given) or 143)
    return calls


def test_every_cell_has_its_seed_in_both_stages_and_enough_evaluations_for_the_gap(program, trained, tmp_path):
    for task, known in table_tasks().items():
        for method, about in METHODS.items():
            if about.recipe:
                program.train(Cell(task, method, 3), tmp_path)
                config, _, argv = trained[-1]
                assert config.task == known.name and config.seed == 3 and "--config.seed=3" in argv
                if method == "reason_rft":
                    assert config.stage1.seed == 3
                if method == "reason_rft_zero":
                    assert config.eval.every <= 10


def test_a_stopped_training_names_a_command_that_knows_its_workdir(program, trained, tmp_path, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # the command would begin with it
    program.train(Cell("counting", "reason_rft_zero", 1), tmp_path)
    words = shlex.split(resume_hint(trained[0][2], tmp_path))
    assert words[1:] == ["launch/train.py", "--config=configs/reason_rft_zero.py:counting", "--config.seed=1",
                         "--config.eval.every=10", f"--workdir={tmp_path}"]  # fmt: skip


def test_a_seed_that_is_none_is_named_by_its_flag(program, capsys):
    with flagsaver.flagsaver(seeds=["0", "a"], compilation_cache=""):
        assert program.main(["reproduce.py"]) == 2
    assert capsys.readouterr().err.startswith("error: --seeds: 'a': whole numbers")


def test_a_quick_try_leaves_the_real_table_alone(program, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cell = tmp_path / "docs" / "results" / "counting" / "ans_sft-seed0.json"
    cell.parent.mkdir(parents=True)
    cell.write_text(json.dumps({}))
    with flagsaver.flagsaver(quick=True, tasks=["counting"], methods=["ans_sft"], compilation_cache=""):
        assert program.main(["reproduce.py"]) == 143
    (config, workdir, _) = trained[0]
    assert config.train.steps == 4 and workdir.parts[:2] == ("workdirs", "quick")
    assert "the same command of launch/reproduce.py resumes" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_in_a_training_it_goes_on_and_ends_with_the_same_numbers(tmp_path):
    def start(folder):
        where = (f"--workdirs={folder / 'w'}", f"--results={folder / 'r'}", f"--compilation_cache={tmp_path / 'xla'}")
        quick = ("--quick", "--tasks=counting", "--methods=cot_sft", "--questions=4")
        command = [sys.executable, "launch/reproduce.py", *quick, *where]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        return subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(folder):
        process = start(folder)
        out, err = process.communicate(timeout=runs.LIMIT_S)
        assert process.returncode == 0, err[-4000:]
        return out

    run, result = Path("w", "counting", "cot_sft-seed0", "run"), Path("r", "counting", "cot_sft-seed0.json")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finish(whole)
    happened = lambda: runs.steps_written(parts / run) >= 3  # noqa: E731
    assert runs.stop_when(start(parts), happened, signal.SIGKILL) == -signal.SIGKILL
    assert not (parts / result).exists()
    assert "| CoT-SFT" in finish(parts)
    assert runs.metrics_without_times(parts / run) == runs.metrics_without_times(whole / run)
    first, second = (json.loads((folder / result).read_text()) for folder in (whole, parts))
    assert first["benchmarks"] == second["benchmarks"] and first["training"]["series"] == second["training"]["series"]
    assert "training in" not in finish(parts)
