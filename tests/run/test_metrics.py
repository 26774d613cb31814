import json
import math
import os
import resource
import signal
import struct
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from rrft_jax.files import write_atomic
from rrft_jax.run.journal import Journal
from rrft_jax.run.metrics import MetricsWriter, from_json, make_record, read_metrics, to_json


def events(workdir):
    """(tag, step, value) of all event files, read from the record framing itself."""
    found = []
    for file in sorted((workdir / "tensorboard").iterdir()):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            at += 12 + length + 4
    return found


def journal(workdir):
    return Journal(workdir, ("tensorboard",))


def test_one_object_a_step_and_the_same_in_tensorboard(tmp_path):
    with journal(tmp_path) as writer:
        writer.write(0, {"eval/accuracy": np.float32(0.1)})
        writer.write(1, {"reward": jnp.float32(0.5), "n": 3, "flag": True, "one": np.ones((1,))})
    first, second = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert first["eval/accuracy"] == float(np.float32(0.1)) and first["step"] == 0
    assert {k: second[k] for k in second if k != "time"} == {"step": 1, "reward": 0.5, "n": 3, "flag": 1, "one": 1.0}
    assert set(events(tmp_path)) == {
        ("eval/accuracy", 0, float(np.float32(0.1))), ("reward", 1, 0.5), ("n", 1, 3), ("flag", 1, 1), ("one", 1, 1)
    }  # fmt: skip


def test_non_finite_values_stay_json(tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    with_bad = {"a": math.nan, "b": -math.inf, "c": jnp.inf, "d": 1.0}
    record = make_record(4, with_bad, 0.0)
    assert record == dict(step=4, time=0.0, a=None, b=None, c=None, d=1.0, nonfinite=dict(a="nan", b="-inf", c="inf"))
    with journal(tmp_path) as writer:
        writer.write(4, with_bad)
    json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    (read,) = read_metrics(tmp_path)
    assert math.isnan(read["a"]) and read["b"] == -math.inf and read["c"] == math.inf and "nonfinite" not in read
    assert events(tmp_path) == [("d", 4, 1.0)]


def test_metrics_in_a_checkpoint():
    metrics = {"loss": math.nan, "reward": 0.25, "worst": -math.inf, "count": 3}
    stored = json.loads(json.dumps(to_json(metrics), allow_nan=False))
    found = from_json(stored)
    assert math.isnan(found.pop("loss")) and found == {"reward": 0.25, "worst": -math.inf, "count": 3}


def test_wrong_values_are_named(tmp_path):
    for name, value in [("text", "x"), ("vector", np.ones(2)), ("none", None)]:
        with pytest.raises(TypeError, match=name):
            make_record(0, {name: value}, 0.0)
    with pytest.raises(ValueError, match="'step'"):
        make_record(0, {"step": 1}, 0.0)


def test_cut_back_removes_later_steps_and_a_torn_line_everywhere(tmp_path):
    writer = MetricsWriter(tmp_path)
    for step in range(6):
        writer.write(step, {"x": step / 3})
    writer.close()
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(whole + b'{"step": 6, "x"')
    resumed = MetricsWriter(tmp_path)
    assert resumed.cut_back(3) == 2
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(whole.splitlines(keepends=True)[:4])
    resumed.close()
    with journal(tmp_path) as writer:
        writer.cut_back(3)
        writer.write(4, {"x": 40.0})
    assert [(r["step"], r["x"]) for r in read_metrics(tmp_path)][-2:] == [(3, 1.0), (4, 40.0)]
    assert sorted(e[1] for e in events(tmp_path)) == [0, 1, 2, 3, 4]
    assert MetricsWriter(tmp_path).cut_back(-1) == 5
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_steps_must_increase_and_a_damaged_middle_is_named(tmp_path):
    writer = MetricsWriter(tmp_path)
    writer.write(2, {"x": 1})
    writer.close()
    with pytest.raises(ValueError, match="already holds step 2"):
        MetricsWriter(tmp_path).write(2, {"x": 1})
    assert not (tmp_path / "tensorboard").exists()
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2"):
        MetricsWriter(tmp_path).cut_back(9)


def test_a_killed_process_loses_no_written_step(tmp_path):
    code = (
        "import sys; from rrft_jax.run.metrics import MetricsWriter\n"
        "w = MetricsWriter(sys.argv[1])\n"
        "for i in range(10**9):\n"
        "    w.write(i, {'x': i})\n"
        "    if i == 50: print('go', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "go\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    steps = [r["step"] for r in read_metrics(tmp_path)]
    assert steps == list(range(len(steps))) and len(steps) > 50
    with journal(tmp_path) as writer:
        writer.cut_back(20)
    assert [e[1] for e in events(tmp_path)] == list(range(21))


def test_a_full_disk_leaves_whole_lines_and_names_the_file(tmp_path):
    writer = MetricsWriter(tmp_path)
    writer.write(0, {"a": 1.0})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, hard))
    try:
        with pytest.raises(OSError, match="metrics.jsonl"):
            writer.write(1, {"a": 2.0})
        writer.close()
        with pytest.raises(OSError, match="'.*/x'"):
            write_atomic(tmp_path / "x", bytes(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [record["a"] for record in read_metrics(tmp_path)] == [1.0] and os.listdir(tmp_path) == ["metrics.jsonl"]
    writer.write(1, {"a": 3.0})
    assert [record["a"] for record in read_metrics(tmp_path)] == [1.0, 3.0]
