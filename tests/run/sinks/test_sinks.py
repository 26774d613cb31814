import logging

import pytest

from rrft_jax.config.defaults import base_config
from rrft_jax.config.upgrade import upgrade
from rrft_jax.run.completions import Group
from rrft_jax.run.journal import Journal
from rrft_jax.run.metrics import read_metrics
from rrft_jax.run.sinks import Sinks, check_sinks

OWN = """
class SINK:
    def __init__(self, workdir, config):
        self.file = open(workdir / "own.txt", "a")
    def write(self, step, scalars, tables):
        if step == 3:
            raise ConnectionError("the tracker is down")
        texts = {name: [row["completion"] for row in rows] for name, rows in tables.items()}
        print("write", step, dict(scalars), texts, file=self.file)
    def cut_back(self, step):
        print("cut_back", step, file=self.file)
    def flush(self):
        self.file.flush()
    def close(self):
        self.file.close()
"""


def test_a_sink_from_a_file_gets_everything_and_may_fail(tmp_path, caplog):
    (tmp_path / "mine.py").write_text(OWN)
    name = f"{tmp_path}/mine.py:SINK"
    group = Group(0, "a", "how many?", "3", ["3", "4"], rewards={"accuracy": [1.0, 0.0]}, reward=[1.0, 0.0])
    with caplog.at_level(logging.WARNING), Journal(tmp_path, (name,)) as journal:
        journal.cut_back(-1)
        journal.write(0, {"reward": 0.5})
        journal.write_completions(1, [group])
        journal.flush()
        for step in (3, 4):
            journal.write(step, {"reward": step})
    lines = (tmp_path / "own.txt").read_text().splitlines()
    assert lines == ["cut_back -1", "write 0 {'reward': 0.5} {}", "write 1 {} {'completions': ['3', '4']}"]
    assert [r["step"] for r in read_metrics(tmp_path)] == [0, 3, 4], "the record has everything"
    (warning,) = caplog.messages
    assert "ConnectionError: the tracker is down" in warning and "mine.py:7" in warning


def test_a_name_that_leads_to_no_sink_is_refused_before_the_run(tmp_path):
    with pytest.raises(ValueError, match="config.log.sinks='tensorbord' is no sink; did you mean tensorboard"):
        check_sinks(("tensorbord",))
    (tmp_path / "bad.py").write_text("SINK = 3\ndef make(workdir, config):\n    raise KeyError('token')\n")
    with pytest.raises(ValueError, match="is a int; a sink is made by a class or a function"):
        check_sinks((f"{tmp_path}/bad.py:SINK",))
    with pytest.raises(ValueError, match=r"cannot be made: KeyError: 'token' \(.*bad.py:3\)"):
        Sinks((f"{tmp_path}/bad.py:make",), tmp_path, {})


def test_a_stored_config_of_before_keeps_its_choice():
    stored = base_config().to_dict()
    for chosen, wanted in ((True, ["tensorboard"]), (False, [])):
        old = {**stored, "log": {"tensorboard": chosen, "completions_every": 3}}
        log = upgrade(old)["log"]
        assert log["sinks"] == wanted and log["completions_every"] == 3 and "tensorboard" not in log
