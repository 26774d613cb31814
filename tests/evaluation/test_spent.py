"""CPU-seconds of several sessions, with a clock made up by hand."""

from rrft_jax.evaluation import spent
from rrft_jax.evaluation.spent import Spent


def test_sessions_add_up_to_what_each_noted_last(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(spent, "cpu_seconds", lambda: now[0])
    file = tmp_path / "spent.json"
    first = Spent(file)
    for now[0] in (107.0, 112.5):
        first.note()
    now[0] = 400.0  # killed: what it did since its last note is lost
    now[0] = 3.0  # another process, whose clock begins anew
    second = Spent(file)
    now[0] = 5.0
    assert second.note() == 12.5 + 2.0
    now[0] = 6.0
    assert second.note() == 12.5 + 3.0 == Spent(file).note()
