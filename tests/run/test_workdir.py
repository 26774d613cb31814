import json
import os
import signal
import subprocess
import sys

import jax
import ml_collections
import pytest

from rrft_jax.run import versions
from rrft_jax.run import workdir as wd


def make_config(**train):
    return ml_collections.ConfigDict(
        {"seed": 3, "data": {"seed": 4, "buckets": (8, 16)}, "train": {"steps": 9, "lr": 1.0, **train}, "log": {"n": 1}}
    )


def test_a_new_run_writes_down_what_made_it(tmp_path):
    path = tmp_path / "a" / "run"
    made = wd.open_workdir(path, make_config())
    assert made.path == path and not made.resumed and not made.finished
    assert json.loads((path / "config.json").read_text())["data"] == {"seed": 4, "buckets": [8, 16]}
    assert wd.stored_config(path).to_dict() == make_config().to_dict()
    versions = json.loads((path / "versions.json").read_text())
    assert versions["jax"] == jax.__version__ and versions["seeds"] == {"seed": 3, "data.seed": 4}
    assert {"python", "jaxlib", "flax", "optax", "transformers", "rrft_jax", "platform", "cores"} <= versions.keys()
    assert {"device_kind", "XLA_FLAGS", "git"} <= versions.keys()
    assert sorted(p.name for p in path.iterdir()) == [".lock", "config.json", "sessions.jsonl", "versions.json"]


def test_resume_and_finish(tmp_path):
    wd.open_workdir(tmp_path, make_config()).close()
    (tmp_path / ".config.json.tmp-1").write_text("{")
    resumed = wd.open_workdir(tmp_path, make_config())
    assert resumed.resumed and not resumed.changed and not resumed.notes and not resumed.finished
    assert not list(tmp_path.glob("*.tmp-*")) and not list(tmp_path.glob(".*.tmp-*"))
    resumed.mark_done({"accuracy": 0.5})
    resumed.close()
    again = wd.open_workdir(tmp_path, make_config())
    assert again.finished and json.loads((tmp_path / "DONE").read_text()) == {"accuracy": 0.5}
    sessions = [json.loads(line) for line in (tmp_path / "sessions.jsonl").read_text().splitlines()]
    assert [s["resumed"] for s in sessions] == [False, True, True]


def test_another_config_is_refused_field_by_field(tmp_path):
    wd.open_workdir(tmp_path, make_config()).close()
    before = (tmp_path / "config.json").read_bytes()
    other = make_config(lr=2.0, extra="x")
    other.log.n = 5
    with pytest.raises(wd.WorkdirError) as caught:
        wd.open_workdir(tmp_path, other, may_change=("log.*",))
    lines = str(caught.value).splitlines()
    assert lines[1:3] == ['  train.extra: "(absent)" -> "x"', "  train.lr: 1.0 -> 2.0"] and len(lines) == 4
    assert (tmp_path / "config.json").read_bytes() == before
    allowed = make_config()
    allowed.log.n = 5
    opened = wd.open_workdir(tmp_path, allowed, may_change=("log.*",))
    assert opened.changed == {"log.n": (1, 5)}
    assert wd.stored_config(tmp_path).log.n == 5


def test_config_changes_distinguish_types():
    assert wd.config_changes({"a": 1, "b": {"c": True}}, {"a": 1.0, "b": {"c": 1}}) == {"a": (1, 1.0), "b.c": (True, 1)}
    assert wd.config_changes({"a": {}}, {"a": {}}) == {}


def test_what_json_cannot_hold_is_named():
    with pytest.raises(wd.WorkdirError, match="train.lr"):
        wd.resolve_config(make_config(lr=float("nan")))
    with pytest.raises(wd.WorkdirError, match="train.hook"):
        wd.resolve_config(make_config(hook=object()))


def test_foreign_directories_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(wd.WorkdirError, match="thesis.tex"):
        wd.open_workdir(tmp_path, make_config())
    with pytest.raises(wd.WorkdirError, match="is a file"):
        wd.open_workdir(tmp_path / "thesis.tex", make_config())
    with pytest.raises(wd.WorkdirError, match="no run directory"):
        wd.stored_config(tmp_path)
    # Killed between versions.json and config.json: nothing is lost by starting again.
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "versions.json").write_text("{}")
    assert not wd.open_workdir(begun, make_config()).resumed


def test_changed_versions_are_noted(tmp_path):
    wd.open_workdir(tmp_path, make_config()).close()
    versions = json.loads((tmp_path / "versions.json").read_text())
    wd.write_json(tmp_path / "versions.json", {**versions, "jax": "0.1", "cores": 99})
    notes = wd.open_workdir(tmp_path, make_config()).notes
    assert len(notes) == 2 and any("jax: 0.1 ->" in note for note in notes)
    assert json.loads((tmp_path / "versions.json").read_text())["jax"] == "0.1"


def test_an_edited_file_of_the_user_is_noted(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("TASK = 1\n")
    config = ml_collections.ConfigDict({"task": f"{file}:TASK", "extra_rewards": (f"{file}:f=0.5", "pkg.module:g=1")})
    wd.open_workdir(tmp_path / "run", config).close()
    same = wd.open_workdir(tmp_path / "run", config)
    same.close()
    file.write_text("TASK = 2\n")
    assert not same.notes
    edited = wd.open_workdir(tmp_path / "run", config)
    assert edited.notes == (f"{file} was edited since the run started; it is read as it is now",)


def test_git_state(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    assert versions.git_state(tmp_path) is None
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "__init__.py").write_text("")
    assert versions.git_state(tmp_path) is None  # not tracked: an installed copy in somebody's repository
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    state = versions.git_state(tmp_path)
    assert len(state["commit"]) == 40 and state["dirty"] is False
    (tmp_path / "__init__.py").write_text("1")
    assert versions.git_state(tmp_path)["dirty"] is True


def test_a_directory_in_use_is_refused_until_its_process_is_gone(tmp_path):
    code = (
        "import sys, time, ml_collections; from rrft_jax.run.workdir import open_workdir\n"
        "w = open_workdir(sys.argv[1], ml_collections.ConfigDict({'a': 1})); print('open', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(wd.WorkdirError, match=f"in use by process {holder.pid}"):
            wd.open_workdir(tmp_path, ml_collections.ConfigDict({"a": 1}))
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert wd.open_workdir(tmp_path, ml_collections.ConfigDict({"a": 1})).resumed
