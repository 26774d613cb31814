import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rrft_jax.run.resume import resume_hint
from rrft_jax.training.interrupt import GracefulStop


def wait_until(happened, seconds=30):
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.01)
    return happened()


def test_where_nothing_is_to_be_saved_the_first_signal_ends_it(capfd):
    left = []
    with GracefulStop(left.append) as stop:
        stop.at_once = "stopped before the first step; to start:\n  python x"
        signal.raise_signal(signal.SIGTERM)
        assert wait_until(lambda: left == [0])
    assert "to start:\n  python x" in capfd.readouterr().err


LOOP = """
import sys, time
from rrft_jax.training.interrupt import GracefulStop
with GracefulStop() as stop:
    print("ready", flush=True)
    while not stop.requested:
        time.sleep(0.01)
    print("saving", flush=True)
    if sys.argv[1:] == ["slow"]:
        # Not one long sleep: a signal that comes just before the system call would be handled only at its end.
        for _ in range(6000):
            time.sleep(0.01)
sys.exit(stop.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_sets_the_flag(number, capfd):
    before, left = signal.getsignal(number), []
    with GracefulStop(left.append) as stop:
        assert not stop.requested and stop.exit_code == 0
        signal.raise_signal(number)
        assert stop.requested and stop.exit_code == (130 if number == signal.SIGINT else 0)
        if number == signal.SIGTERM:
            signal.raise_signal(number)  # a scheduler repeats itself
        assert not left
        signal.raise_signal(signal.SIGINT)
        assert wait_until(lambda: left == [130])
    assert signal.getsignal(number) is before
    assert number.name in capfd.readouterr().err


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), GracefulStop():
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_is_touched():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with GracefulStop() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_real_process_stops_between_steps(number, code):
    child = subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    os.kill(child.pid, number)
    out, err = child.communicate(timeout=50)
    assert out == "saving\n" and child.returncode == code and "saving after this step" in err


def test_a_second_ctrl_c_ends_a_real_process_at_once():
    child = subprocess.Popen(
        [sys.executable, "-c", LOOP, "slow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    os.kill(child.pid, signal.SIGINT)
    assert child.stdout.readline() == "saving\n"
    os.kill(child.pid, signal.SIGINT)
    err = child.communicate(timeout=50)[1]
    assert child.returncode == 130 and "stopped at once" in err and "Traceback" not in err


def test_resume_hint_is_a_command_for_the_shell(monkeypatch, tmp_path):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    argv = ["launch/train.py", "--config=c.py:2b,init=a b", "--workdir", "old", "--config.x='a'", "--workdir=older"]
    words = shlex.split(resume_hint(argv, "runs/a b"))
    assert words[1:] == ["launch/train.py", "--config=c.py:2b,init=a b", "--config.x='a'", "--workdir=runs/a b"]
    shown = subprocess.run(
        f"{shlex.quote(words[0])} -c 'import sys; print(sys.prefix)'", shell=True, capture_output=True, text=True
    )
    assert shown.stdout.strip() == sys.prefix
    monkeypatch.setenv("XLA_FLAGS", "--a=1 --b")
    assert resume_hint(["t.py"], "w").startswith("XLA_FLAGS='--a=1 --b' ")
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.chdir(tmp_path)
    assert shlex.split(resume_hint(["t.py"], Path("w")))[1] == ".venv/bin/python"


def test_a_first_stage_is_resumed_by_the_command_of_the_whole(tmp_path):
    first = tmp_path / "two" / "stage1"
    for argv in (["t.py", f"--workdir={first.parent}"], ["t.py", "--workdir", str(first.parent)], ["t.py"]):
        assert resume_hint(argv, first).endswith(f" t.py --workdir={first.parent}")
    assert resume_hint(["t.py", f"--workdir={first}"], first).endswith(f"--workdir={first}")  # their name
