"""The command: what it writes, says, refuses and leaves alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rrft_jax.data.prepared import open_prepared
from tests.data.sources.real import COUNT, PICTURES, TRANCE, published

ROOT = Path(__file__).parents[2]
NAME = "A3-Visual-Counting-train-35k-cot.json"


ENV = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}


def run(*flags, good=True, env=ENV):
    command = [sys.executable, "launch/prepare_data.py", *map(str, flags)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert (result.returncode == 0) == good, result.stderr
    assert "Traceback" not in result.stderr
    return result


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
            assert len(open_prepared(out / "reason_rft" / task / "1.0.0", split)) == 1
    assert list(out.glob("**/*incomplete*")) == []

    assert "is there already" in run(*flags).stdout
    lacking = ("--source=trance", f"--input={TRANCE}", f"--data_dir={out}")
    run(*lacking, "--split=train")
    refused = run(*lacking, good=False).stderr
    assert "holds train only, not train_left, train_right" in refused and "--overwrite" in refused
    assert "train_right: 1 examples" in run(*lacking, "--overwrite").stdout


@pytest.mark.slow
def test_a_home_folder_is_one(tmp_path):
    """The shell does not expand it behind an = sign."""
    record = {"id": "a", "image": [], "problem": "How many?", "answer": "5"}
    (tmp_path / "train.jsonl").write_text(json.dumps(record) + "\n")
    flags = ("--source=jsonl", "--input=~/train.jsonl", "--task=visual_counting", "--data_dir=~/out")
    home = ENV | {"HOME": str(tmp_path)}
    assert "train: 1 examples" in run(*flags, env=home).stdout
    assert len(open_prepared(tmp_path / "out" / "jsonl" / "visual_counting" / "1.0.0", "train")) == 1
    assert "is there already" in run(*flags, env=home).stdout


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
    (tmp_path / "clevr_math.json").write_text(json.dumps([COUNT]))
    other = ("--source=reason_rft", f"--input={tmp_path}", "--task=structure_perception")
    said = run(*other, good=False).stderr.strip().splitlines()
    assert said == [
        f"no usable file in {tmp_path}:", "  left aside clevr_math.json: of visual_counting, not asked for",
    ]  # fmt: skip
    (tmp_path / "train.jsonl").touch()
    empty = run("--source=jsonl", f"--input={tmp_path}", "--task=visual_counting", good=False).stderr
    assert "no usable file in" in empty and "its files hold no record" in empty
    text = run("--help", good=False).stdout
    assert "docs/data.md" in text and "reason_rft" in text


@pytest.mark.slow
def test_records_of_a_users_own_task(tmp_path):
    """The task of examples/my_task, outside the package: the set lies under its name, and its records are its own."""
    folder = tmp_path / "my_task"
    shutil.copytree(ROOT / "examples" / "my_task", folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    subprocess.run([sys.executable, folder / "draw.py", folder / "data"], check=True, env=ENV)
    flags = ("--source=jsonl", f"--input={folder}/data", f"--data_dir={tmp_path}/out", "--image_root=images")
    done = run(*flags, f"--task={folder}/task.py:TASK")
    assert "train: 14 examples" in done.stdout and "test: 6 examples" in done.stdout
    examples = open_prepared(tmp_path / "out" / "jsonl" / "discs" / "1.0.0", "train")
    assert len(examples) == 14 and {example.task for example in examples} == {"discs"}
    wrong = run(*flags, f"--task={folder}/task.py:TOSK", good=False).stderr
    assert "--task=" in wrong and "has no TOSK; it defines" in wrong
