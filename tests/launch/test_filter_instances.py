"""launch/filter_instances.py with a model: what it leaves does not depend on whether it was killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rrft_jax.data.instances import read_counts
from rrft_jax.tasks.registry import get_task
from tests.training.runs import stop_when

ROOT = Path(__file__).parents[2]
RECORDS, ROLLOUTS = 16, 3


@pytest.fixture
def records(tmp_path):
    """A folder of counting records with their pictures."""
    folder = tmp_path / "records"
    folder.mkdir()
    rows = []
    for number in range(RECORDS):
        example = get_task("counting").make(0, number, "train", "in")
        Image.fromarray(np.asarray(example.images[0])).save(folder / f"{number}.png")
        row = {"id": f"r{number}", "image": f"{number}.png", "problem": example.problem, "answer": example.answer}
        rows.append(row)
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.slow
def test_killed_and_started_again_it_leaves_the_bits_of_an_uninterrupted_run(records, tmp_path):
    command = [
        sys.executable, "launch/filter_instances.py", "--checkpoint=nano", "--task=counting", f"--data_dir={records}",
        f"--rollouts={ROLLOUTS}", "--max_new_tokens=48", "--batch=2", "--compilation_cache=",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    run = lambda folder: subprocess.run(  # noqa: E731
        [*command, f"--output={folder}"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = run(whole)
    assert done.returncode == 0 and f"of {RECORDS} records are kept" in done.stdout, done.stderr[-3000:]
    file = parts / "rollouts.jsonl"
    process = subprocess.Popen(
        [*command, f"--output={parts}"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stop_when(process, lambda: file.exists() and b"\n" in file.read_bytes(), signal.SIGKILL)
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) < RECORDS
    # As if the kill had come between the two records of the first batch, while the second one's line was written.
    file.write_bytes(lines[0] + b'{"id": "r')
    assert run(parts).returncode == 0
    assert file.read_bytes() == (whole / "rollouts.jsonl").read_bytes()
    counts = read_counts(file)
    assert len(counts) == RECORDS and {found.total for found in counts.values()} == {ROLLOUTS}
    assert 0 < sum(found.correct for found in counts.values()) < RECORDS * ROLLOUTS
