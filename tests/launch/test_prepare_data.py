"""The command: what it writes, says, refuses and leaves alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rrft_jax.data.prepared import PreparedExamples
from tests.data.sources.real import COUNT, PICTURES, TRANCE, published

ROOT = Path(__file__).parents[2]
NAME = "A3-Visual-Counting-train-35k-cot.json"


def run(*flags, good=True):
    command = [sys.executable, "launch/prepare_data.py", *map(str, flags)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=ENV)
    assert (result.returncode == 0) == good, result.stderr
    assert "Traceback" not in result.stderr
    return result


ENV = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}


@pytest.mark.slow
def test_prepare_report_strict_and_again(tmp_path):
    records = [COUNT, COUNT | {"id": "lost", "image": "none.png"}, COUNT | {"id": "half", "image": "half.png"}]
    folder = published(tmp_path / "published")
    (folder / "train_jsons" / NAME).write_text(json.dumps(records))
    (folder / "half.png").write_bytes(PICTURES["geo/12.png"].read_bytes()[:2000])
    out = tmp_path / "out"
    flags = ("--source=reason_rft", f"--input={folder}", f"--data_dir={out}")

    refused = run(*flags, "--strict", good=False).stderr
    assert "nothing was written: 2 problems" in refused and "half.png" in refused and "none.png" in refused
    assert not out.exists()

    done = run(*flags)
    assert "left aside train_jsons/AI2D-train-1467-cot.json" in done.stdout
    assert "2 problems, their records left out (missing image: 1, unreadable image: 1)" in done.stdout
    assert f"{NAME}, record 2 (id 'half')" in done.stdout
    assert "visual_counting: 100%" in done.stderr and "records/s" in done.stderr
    for task, splits in (
        ("visual_counting", ("train", "test", "test_ood")),
        ("structure_perception", ("train", "test", "test_ood")),
        ("spatial_transformation", ("train", "test", "test_left", "test_right")),
    ):
        for split in splits:
            assert len(PreparedExamples(out / "reason_rft" / task / "1.0.0", split)) == 1
    assert list(out.glob("**/*incomplete*")) == []

    assert "is there already" in run(*flags).stdout
    lacking = ("--source=trance", f"--input={TRANCE}", f"--data_dir={out}")
    run(*lacking, "--split=train")
    refused = run(*lacking, good=False).stderr
    assert "holds train only, not train_left, train_right" in refused and "--overwrite" in refused
    assert "train_right: 1 examples" in run(*lacking, "--overwrite").stdout


@pytest.mark.slow
def test_wrong_flags_are_one_line(tmp_path):
    flags = ("--source=trance", f"--data_dir={tmp_path}")
    assert "is no folder; it should hold data.jsonl" in run(*flags, "--input=none", good=False).stderr
    unknown = run(*flags, f"--input={TRANCE}", "--split=test", good=False).stderr
    assert unknown.strip() == "--split=test: the input has train, train_left, train_right"
    assert (
        "--answers says nothing to --source=trance"
        in run(*flags, f"--input={TRANCE}", "--answers=number", good=False).stderr
    )
    assert "--input" in run(*flags, good=False).stderr
    text = run("--help", good=False).stdout
    assert "docs/data.md" in text and "reason_rft" in text
