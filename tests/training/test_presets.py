"""Algorithms by the names people know: what each sets, and that each trains."""

import json
import os
import subprocess
import sys

import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.run.workdir import flatten
from rrft_jax.training.algorithms import ALGORITHMS
from rrft_jax.training.algorithms.grpo import loss_config
from rrft_jax.training.preset_choice import settle_preset
from rrft_jax.training.validate import check_config
from tests.training import runs

PRESETS = [name for name, algorithm in ALGORITHMS.items() if algorithm.preset]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_passes_the_checks_and_sets_every_field(name):
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    config.algorithm = name
    before = flatten(config.to_dict())
    said = settle_preset(config)
    check_config(config)
    after = flatten(config.to_dict())
    for field, value in ALGORITHMS[name].preset.items():
        assert after[field] == value and (f"config.{field}={value}" in said) == (before[field] != value), field
    assert settle_preset(config) == ""  # settled once, it stays


def test_what_a_config_sets_itself_stays():
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    config.algorithm, config.loss.epsilon_high, config.train.minibatches = "dapo", 0.3, 4
    said = settle_preset(config)
    assert (config.loss.epsilon_high, config.train.minibatches) == (0.3, 4) and "epsilon_high" not in said
    loss = loss_config(config)
    assert (loss.surrogate, loss.aggregation, loss.epsilon_low) == ("clipped", "token_mean", 0.2)


ALL = """
import json, sys
from rrft_jax.config.command_line import load_config
from rrft_jax.run.metrics import read_metrics
from rrft_jax.training.loop import train
from pathlib import Path
for name in sys.argv[2:]:
    config = load_config("configs/grpo_counting.py:runlocal")
    config.algorithm = name
    config.train.update({"steps": 2, "prompts": 2, "micro_batches": 1})
    config.rollout.update({"group": 2, "max_completion_length": 12})
    config.loss.beta = 0.0
    config.optimizer.schedule.update({"peak": 1e-3, "warmup_steps": 0})
    config.eval.examples = 0
    config.log.sinks = ()
    assert train(config, f"{sys.argv[1]}/{name}") == 0
    print("TRAINED", json.dumps([name, *(r for r in read_metrics(Path(sys.argv[1]) / name) if r["step"] > 0)]))
"""


@pytest.mark.slow
def test_each_trains_two_steps(launcher, tmp_path):
    """In one process, which compiles for one shape; of PPO see test_ppo.py."""
    names = [name for name in PRESETS if name != "ppo"]
    command = [sys.executable, "-c", ALL, str(tmp_path), *names]
    env = {**os.environ, **launcher.environment(), "JAX_LOG_COMPILES": "0"}
    done = subprocess.run(command, cwd=runs.ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    said = [json.loads(line.split(" ", 1)[1]) for line in done.stdout.splitlines() if line.startswith("TRAINED")]
    assert [name for name, *_ in said] == names
    for name, *records in said:
        assert len(records) == 2 and all(record["update_skipped"] == 0 for record in records), name
        assert all(record["loss"] == record["loss"] for record in records), name
