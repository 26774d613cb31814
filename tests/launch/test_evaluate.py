"""The command: what it says without asking, what it refuses, and that a kill neither repeats nor loses a question."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENDPOINT = ("--endpoint=http://127.0.0.1:1/v1", "--model=m")


def command(*given):
    return [sys.executable, "launch/evaluate.py", *map(str, given)]


def run(*given):
    return subprocess.run(command(*given), capture_output=True, text=True, cwd=ROOT)


def test_dry_run_of_an_endpoint_says_what_it_would_cost_and_leaves_nothing(tmp_path):
    done = run(*ENDPOINT, "--benchmark=spatial_id", "--limit=3", "--samples=2", "--leave_out=top_k,n", "--dry-run",
               f"--output={tmp_path / 'out'}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "spatial_id: 3 questions; the first:\nPlease answer only with functions." in done.stdout
    assert "3 questions in 6 requests; nothing was sent" in done.stdout and "6 images" in done.stdout
    assert not (tmp_path / "out").exists()


SLOW = pytest.mark.slow
MISTAKES = {
    ("--dtype=bfloat16", "--batch=4", *ENDPOINT): "--batch, --dtype: of no use with --endpoint",
    ("--checkpoint=nano", "--timeout=3"): "--timeout: of no use with --checkpoint",
    ("--leave_out=topk", *ENDPOINT): "endpoint leave_out=['topk']: choose from",
    ("--checkpoint=nowhere",): "--checkpoint='nowhere': neither 'nano'",
}


@pytest.mark.parametrize("given", [g if k < 2 else pytest.param(g, marks=SLOW) for k, g in enumerate(MISTAKES)])
def test_mistakes_are_one_line(tmp_path, given):
    done = run(*given, f"--output={tmp_path / 'out'}")
    assert done.returncode == 2 and done.stderr.startswith("error: ") and MISTAKES[given] in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()


@SLOW
def test_a_killed_evaluation_goes_on_without_repeating_or_losing_a_question(tmp_path):
    given = ("--checkpoint=nano", "--benchmark=counting_id", "--limit=24", "--batch=4", "--max_new_tokens=4",
             f"--output={tmp_path}")  # fmt: skip
    file = tmp_path / "counting_id.jsonl"
    lines = lambda: file.read_bytes().splitlines(keepends=True) if file.exists() else []  # noqa: E731
    process = subprocess.Popen(command(*given), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    while process.poll() is None and len(lines()) < 4:
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = [line for line in lines() if line.endswith(b"\n")]
    assert 4 <= len(kept)
    done = run(*given)
    assert done.returncode == 0, done.stderr
    after = lines()
    assert after[: len(kept)] == kept and len({json.loads(line)["id"] for line in after}) == len(after) == 24
    assert json.loads((tmp_path / "counting_id.json").read_text())["questions"] == 24
    assert "counting_id" in done.stdout and "nano, strict_score" in done.stdout
