"""One command for two stages, killed in each of them."""

import json
import signal

import pytest

from tests.training import runs

TWO = "configs/reason_rft_counting.py:runlocal"
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
