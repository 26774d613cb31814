"""A run is repeated from its directory: the same numbers to the last bit, and a list of what differs."""

import json
import subprocess
import sys

import pytest

from rrft_jax.config import command_line
from rrft_jax.config.again import get_config
from rrft_jax.config.defaults import base_config
from rrft_jax.data.example import Example
from rrft_jax.run.again import differences, record_data
from rrft_jax.run.workdir import resolve_config
from rrft_jax.training.source import digest_of
from tests.training import runs


def store(path, config, **versions):
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(resolve_config(config)))
    (path / "versions.json").write_text(json.dumps({"jax": "0.1", "git": None, **versions}))
    record_data(path, versions.get("data", "abc"), 5)
    return path


def test_the_stored_config_comes_back_with_the_types_of_its_fields(tmp_path):
    config = base_config()
    config.loss.temperature = 0.5
    config.rewards["mine"] = 2.0
    config.stage1 = base_config()
    config.init = str(tmp_path / "run" / "stage1")
    again = get_config(str(store(tmp_path / "run", config)))
    assert again.init == config.stage1.init and again.rewards.mine == 2.0 and again.log.sinks == ("tensorboard",)
    again.init = config.init
    assert resolve_config(again) == resolve_config(config)
    argv = ["train.py", f"--from={tmp_path / 'run'}", "--config.loss.temperature=0.7", "--config.train.steps=3"]
    full = command_line.as_config(argv)
    values = command_line.parse_config_overrides(command_line.load_config(full[1].partition("=")[2]), full)
    assert values == {"loss.temperature": 0.7, "train.steps": 3}
    with pytest.raises(command_line.ConfigError, match="leave --config out"):
        command_line.as_config([*argv, "--config=configs/grpo_counting.py"])


def test_differences_are_listed_by_kind(tmp_path):
    first = store(tmp_path / "first", base_config())
    other = base_config()
    other.train.steps = 7
    second = store(tmp_path / "second", other, jax="0.2", data="def")
    assert differences(first, first, dict) == []
    assert differences(second, first, dict) == [
        "config.train.steps: 100 -> 7", "data digest: abc -> def",
        "jax: 0.1 -> 0.2; the result may differ in its last bits",
    ]  # fmt: skip
    assert record_data(first, "abc", 5) == [] and "are not those" in record_data(first, "new", 5)[0]
    one, two = Example("a", "t", "how many?", "1"), Example("a", "t", "how many?", "2")
    assert digest_of([one]) == digest_of([one]) != digest_of([two]) != digest_of([two, one])


@pytest.mark.slow
def test_a_repeated_run_has_the_same_bits(finished, launcher, tmp_path):
    workdir, _ = finished
    again = tmp_path / "again"
    command = [sys.executable, "launch/train.py", f"--from={workdir}", f"--workdir={again}"]
    done = subprocess.run(
        command, cwd=runs.ROOT, env=launcher.environment(), capture_output=True, text=True, timeout=runs.LIMIT_S
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"repeats {workdir}: all is as it was" in done.stdout
    runs.assert_same_result(again, workdir)
