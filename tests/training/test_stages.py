"""One command for two stages, killed in each of them."""

import json
import os
import signal
from pathlib import Path

import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.training import stages
from rrft_jax.training.stages import check_stages
from tests.training import runs

ROOT = Path(__file__).parents[2]
TWO = "configs/reason_rft.py:runlocal"
TINY1 = tuple(option.replace("--config.", "--config.stage1.") for option in runs.TINY)
KILLED = -signal.SIGKILL


@pytest.mark.slow
def test_two_stages_in_one_command_resume_where_they_were(launcher, tmp_path):
    workdir, options = tmp_path / "two", (*runs.TINY, *TINY1, "--config.stage1.rollout.max_completion_length=96")
    first = workdir / "stage1"

    def killed(where):
        process = launcher.start(workdir, *options, config=TWO)
        assert runs.stop_when(process, lambda: runs.steps_written(where) >= 3, signal.SIGKILL) == KILLED

    killed(first)
    assert not (first / "DONE").exists() and not (workdir / "config.json").exists()
    killed(workdir)
    assert (first / "DONE").exists() and not (workdir / "DONE").exists()
    once = runs.files(first / "hf")
    output = launcher.run(workdir, *options, config=TWO)
    assert "holds a finished run" in output and "stage 2 of 2" in output and "resuming" in output
    assert runs.files(first / "hf") == once  # not trained again
    stored = json.loads((workdir / "config.json").read_text())
    assert stored["init"] == str(first) and stored["data"]["range"] == [1600, 0]
    assert "holds a finished run" in launcher.run(workdir, *options, config=TWO)


def test_a_signal_while_the_first_stage_ends_reaches_the_second(monkeypatch, tmp_path, capsys):
    trained = []

    def train(config, workdir, argv, *_, stop, **__):
        trained.append(workdir)
        workdir.mkdir(parents=True)
        (workdir / "DONE").touch()
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setattr(stages, "train", train)
    config = load_config(str(ROOT / "configs" / "reason_rft.py"))
    assert stages.run(config, tmp_path / "two", ["launch/train.py"]) == 0
    assert trained == [tmp_path / "two" / "stage1"]
    out = capsys.readouterr().out
    assert "stopped before stage 2; to resume:" in out and f"launch/train.py --workdir={tmp_path / 'two'}" in out


def test_what_one_stage_alone_is_told_is_refused():
    """--config.init would be lost, as stage 2 starts from stage 1; other data would mix up whose records are whose."""
    config = load_config(str(ROOT / "configs" / "reason_rft.py"))
    check_stages(config)
    config.eval.examples = 7  # generated: what is held out comes from a stream of its own
    check_stages(config)
    config.init = "DIR"
    with pytest.raises(ValueError, match="config.init='DIR', but config.stage1.init='nano'"):
        check_stages(config)
    config = load_config(f"{ROOT / 'configs' / 'reason_rft.py'}:data=FOLDER")
    check_stages(config)
    config.eval.examples = 7
    with pytest.raises(ValueError, match="config.eval.examples=7, but config.stage1.eval.examples=64"):
        check_stages(config)


def test_the_seed_given_is_that_of_both_stages_unless_stage_1_is_given_its_own():
    config = load_config(str(ROOT / "configs" / "reason_rft.py"))
    config.seed = 3
    assert config.stage1.seed == 3
    config.stage1.seed = 5
    assert (config.seed, config.stage1.seed) == (3, 5)
    config.seed = 7
    assert config.copy_and_resolve_references().stage1.seed == 5
