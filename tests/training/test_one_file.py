"""examples/grpo_in_one_file.py does what the program does."""

import re
import subprocess
import sys

import pytest

from rrft_jax.run.metrics import read_metrics
from tests.helpers.rounding import FACTOR
from tests.training import runs

STEPS = 3


@pytest.mark.slow
def test_grpo_in_one_file_has_the_losses_of_the_program(launcher, tmp_path):
    small = ("--prompts=4", "--group=4", "--completion=24", f"--stop_after={STEPS}", "--steps=6", "--warmup=5")
    done = subprocess.run(
        [sys.executable, "examples/grpo_in_one_file.py", *small, f"--output={tmp_path / 'hf'}"],
        cwd=runs.ROOT, env=launcher.environment(), capture_output=True, text=True, timeout=runs.LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    ours = [tuple(map(float, found)) for found in re.findall(r"loss (\S+)  reward (\S+)", done.stdout)]
    assert len(ours) == STEPS and (tmp_path / "hf" / "model.safetensors").is_file()
    launcher.run(
        tmp_path / "run", "--config.train.prompts=4", "--config.train.micro_batches=1", "--config.rollout.group=4",
        "--config.rollout.max_completion_length=24", "--config.eval.examples=0", "--config.train.steps=6",
        "--config.log.progress_every=1",
        config="configs/grpo_counting.py",
    )  # fmt: skip
    theirs = [r for r in read_metrics(tmp_path / "run") if 1 <= r["step"] <= STEPS]
    for (loss, reward), record in zip(ours, theirs, strict=True):
        # The terms of the policy loss cancel within each group: what counts is how far rounding moves log-probs here.
        assert loss == pytest.approx(record["loss"], abs=FACTOR * record["sampling/sampling_logp_difference/mean"])
        assert reward == pytest.approx(record["reward"], abs=1e-3)


def test_the_one_file_stays_one_screen_of_reading():
    lines = (runs.ROOT / "examples" / "grpo_in_one_file.py").read_text().splitlines()
    assert len(lines) <= 350
