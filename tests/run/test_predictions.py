"""Predictions that outlive a kill, and folders that refuse another evaluation."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rrft_jax.run.predictions import Predictions, fingerprint, same_evaluation


def test_what_was_added_is_there_again(tmp_path):
    with Predictions(tmp_path, "b") as store:
        store.add({"id": "a", "text": "né"})
        with pytest.raises(ValueError, match="a was answered already"):
            store.add({"id": "a"})
    with Predictions(tmp_path, "b") as store:
        assert store.records == {"a": {"id": "a", "text": "né"}}
        store.add({"id": "c"})
    assert [json.loads(line)["id"] for line in (tmp_path / "b.jsonl").read_text().splitlines()] == ["a", "c"]


def test_a_torn_line_is_asked_again_and_a_foreign_one_is_named(tmp_path):
    (tmp_path / "b.jsonl").write_text('{"id": "a"}\n{"id": "b", "te')
    with Predictions(tmp_path, "b") as store:
        assert list(store.records) == ["a"]
        store.add({"id": "b"})
    assert (tmp_path / "b.jsonl").read_text() == '{"id": "a"}\n{"id": "b"}\n'
    (tmp_path / "b.jsonl").write_text('{"id": "a"}\n[1]\n')
    with pytest.raises(ValueError, match=r"b\.jsonl, line 2: no prediction"):
        Predictions(tmp_path, "b")


def test_sigkill_loses_no_added_line(tmp_path):
    code = (
        "import sys, pathlib, itertools; from rrft_jax.run.predictions import Predictions\n"
        "store = Predictions(pathlib.Path(sys.argv[1]), 'b')\n"
        "for i in itertools.count():\n store.add({'id': str(i)}); print(i, flush=True)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    said = [int(child.stdout.readline()) for _ in range(50)]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with Predictions(tmp_path, "b") as store:
        assert {str(i) for i in said} <= set(store.records)


def test_another_evaluation_is_refused_with_what_differs(tmp_path):
    about = {"checkpoint": "nano", "decoding": {"temperature": 0.1, "seed": 0}}
    same_evaluation(tmp_path / "new", about)
    same_evaluation(tmp_path / "new", about)
    with Predictions(tmp_path / "new", "b") as store:
        store.add({"id": "a"})
    with pytest.raises(ValueError, match=r"another evaluation.*\n  checkpoint: 'nano' -> 'other'"):
        same_evaluation(tmp_path / "new", {**about, "checkpoint": "other"})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds thesis.tex and no evaluation"):
        same_evaluation(tmp_path / "full", about)


def test_a_kill_before_the_first_description_does_not_block_the_folder(tmp_path, monkeypatch):
    """The kill comes when the description is written and has not got its name yet."""

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(os, "rename", killed)
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            same_evaluation(tmp_path, {"checkpoint": "nano"})
    assert list(tmp_path.iterdir())
    same_evaluation(tmp_path, {"checkpoint": "nano"})


def test_a_folder_without_predictions_takes_the_corrected_command(tmp_path):
    same_evaluation(tmp_path, {"top_p": 1.5})
    with Predictions(tmp_path, "b"):
        pass
    same_evaluation(tmp_path, {"top_p": 0.5})
    with Predictions(tmp_path, "b") as store:
        store.add({"id": "a"})
    with pytest.raises(ValueError, match=r"another evaluation.*\n  top_p: 0.5 -> 0.6"):
        same_evaluation(tmp_path, {"top_p": 0.6})
    (tmp_path / "about.json").write_text("{")
    with pytest.raises(ValueError, match=r"about\.json is damaged \(.*give another folder"):
        same_evaluation(tmp_path, {"top_p": 0.5})


def test_half_a_surrogate_pair_is_kept(tmp_path):
    with Predictions(tmp_path, "b") as store:
        store.add({"id": "a", "text": "\ud83d"})
    with Predictions(tmp_path, "b") as store:
        assert store.records["a"]["text"] == "\ud83d"


def test_other_weights_at_the_same_path_have_another_fingerprint(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(100_000))
    once = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == once
    (tmp_path / "model.safetensors").write_bytes(bytes(99_999) + b"1")
    assert fingerprint(tmp_path) != once
