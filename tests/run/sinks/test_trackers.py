"""Each tracker that is installed, offline: numbers, tables with pictures, no secrets, a resume that repeats nothing."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rrft_jax.run.sinks import SINKS, check_sinks
from rrft_jax.run.sinks.tracking import Sent, public, table

ROOT = Path(__file__).parents[3]
USE = """
import sys
from pathlib import Path
import numpy as np
from rrft_jax.run.sinks import Sinks
name, workdir, first, last = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
config = {"seed": 3, "reward_options": {"judge": {"api_key": "SECRET-1", "url": "https://me:SECRET-2@judge/v1"}}}
sinks = Sinks((name,), workdir, config)
sinks.cut_back(first - 1)
picture = np.full((8, 8, 3), 200, np.uint8)
rows = [{"prompt": "how many?", "completion": f"text {k}", "reward": float(k), "images": (picture,)} for k in range(2)]
for step in range(first, last + 1):
    sinks.write(step, {}, {"completions": rows})
    sinks.write(step, {"reward": step / 2, "loss": float("nan")})
sinks.flush()
assert sinks._sinks, "the sink failed and was left out"
sinks.close()
"""


def use(name, workdir, first, last):
    workdir.mkdir(exist_ok=True)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "offline", "TRACKIO_DIR": str(workdir / "trackio"),
        "MLFLOW_TRACKING_URI": "", "HF_HUB_OFFLINE": "1", "WANDB_DATA_DIR": str(workdir),
    }  # fmt: skip
    command = [sys.executable, "-c", USE, name, str(workdir), str(first), str(last)]
    done = subprocess.run(command, env=environment, cwd=workdir, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0 and "left out" not in done.stderr, done.stderr[-3000:]


def read_trackio(workdir):
    import sqlite3

    (database,) = [file for file in (workdir / "trackio").rglob("*.db") if file.name.startswith("rrft_jax")]
    rows = sqlite3.connect(database).execute("select step, metrics from metrics order by step, id").fetchall()
    merged = [(step, json.loads(text)) for step, text in rows]
    assert sum("completions" in values for _, values in merged) == 4
    return [(step, values["reward"]) for step, values in merged if "reward" in values]


def read_mlflow(workdir):
    from mlflow.tracking import MlflowClient

    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient((workdir / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("rrft_jax").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["seed"] == "3"
    (artifact,) = workdir.rglob("step_000002.json")
    assert [row["completion"] for row in json.loads(artifact.read_text())["rows"]] == ["text 0", "text 1"]
    return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "reward")]


def records(content):
    """Records of a .wandb file: LevelDB's log format, blocks of 32 KiB, after a header of 7 bytes."""
    place, parts = 7, b""
    while place < len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield parts
            parts = b""


def read_wandb(workdir):
    from wandb.proto import wandb_internal_pb2

    found, ids = [], set()
    for content in (file.read_bytes() for file in sorted(workdir.rglob("*.wandb"))):
        for data in records(content):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            if record.WhichOneof("record_type") == "history":
                items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
                if "reward" in items:
                    found.append((int(items["_step"]), json.loads(items["reward"])))
    assert len(ids) == 1 and list(workdir.rglob("completions_*.table.json"))
    return found


READERS = {"wandb": read_wandb, "trackio": read_trackio, "mlflow": read_mlflow}


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_tracker_gets_each_step_once_across_a_resume_and_no_secret(name, tmp_path):
    pytest.importorskip(name, reason=f"{name} is not installed: pip install {name}")
    workdir = tmp_path / "run"
    use(name, workdir, 0, 2)
    use(name, workdir, 2, 3)  # a resume whose checkpoint was at step 1
    assert READERS[name](workdir) == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5)]
    contents = {file: file.read_bytes() for file in workdir.rglob("*") if file.is_file()}
    assert any(content.startswith((b"\x89PNG", b"RIFF")) for content in contents.values()), "no picture"
    assert [file for file, content in contents.items() if b"SECRET" in content] == []


@pytest.mark.parametrize("name", READERS)
def test_a_missing_package_is_one_line_with_the_command(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ValueError, match=f"^config.log.sinks={name}: .* not installed: pip install {name}$"):
        check_sinks((name,))
    assert name in SINKS


def test_what_is_sent_what_is_public_and_tables_with_pictures(tmp_path):
    sent = Sent(tmp_path, "any")
    sent.keep("abc")
    assert [sent.new(step, "scalars") for step in (0, 1, 1, 0, 2)] == [True, True, False, False, True]
    again = Sent(tmp_path, "any")
    assert again.id == "abc" and not again.new(2, "scalars") and again.new(0, "completions")
    (tmp_path / ".any.json").write_text("{ torn")
    assert Sent(tmp_path, "any").id is None

    config = {"a": {"api_key": "x", "max_tokens": 7, "list": (1, 2)}, "password": "y", "url": "http://u:p@host/z"}
    assert public(config) == {"a.max_tokens": 7, "a.list": "[1, 2]", "url": "http://host/z"}

    one, two = np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8)
    made = []
    rows = [{"reward": 1.0, "images": (one, two)}, {"reward": 2.0, "images": (one,)}]
    columns, cells = table(rows, lambda image: made.append(image) or len(made))
    assert columns == ["image_0", "image_1", "reward"] and cells == [[1, 2, 1.0], [1, None, 2.0]]
