"""The parent of several processes, with children that do no more than end."""

import os
import signal
import subprocess
import sys
import time

import pytest

from rrft_jax.parallel.local_processes import run_processes


def children(body):
    return [sys.executable, "-c", f"import os, sys, time, signal\ni = int(os.environ['JAX_PROCESS_ID'])\n{body}"]


def test_all_end_well(capfd):
    # One write each: print() makes several of an unbuffered stream, and those of three processes mix.
    line = "{i} {os.environ['JAX_NUM_PROCESSES']} {os.environ['JAX_COORDINATOR_ADDRESS'].split(':')[0]}"
    body = f'os.write(1, f"{line}\\n".encode())'
    assert run_processes(children(body), 3, "again") == 0
    out = capfd.readouterr()
    assert sorted(out.out.splitlines()) == [f"{i} 3 127.0.0.1" for i in range(3)] and out.err == ""


@pytest.mark.parametrize(
    ("end", "how"), [("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"), ("os._exit(7)", "exit code 7")]
)
def test_a_lost_process_is_named_and_the_others_end(capfd, end, how):
    begin = time.monotonic()
    code = run_processes(children(f"{end} if i == 1 else time.sleep(600)"), 3, "do it again", patience_s=0.5)
    assert code == 2 and time.monotonic() - begin < 60
    assert capfd.readouterr().err == (
        f"error: process 1 of 3 was lost ({how}), so the others were ended. The run resumes from its last checkpoint "
        "with:\n  do it again\n"
    )


def test_consequences_are_not_taken_for_the_cause(capfd):
    """The aborts of the survivors come from the loss of process 2, whichever is seen to end first."""
    body = "time.sleep(i); os._exit(7) if i == 2 else os._exit(3) if i else os.abort()"
    assert run_processes(children(body), 3, "again") == 2
    assert "process 2 of 3 was lost (exit code 7)" in capfd.readouterr().err


def test_a_process_that_does_not_answer_is_named(capfd):
    """1 hangs; 2 notices later than 0 and ends by itself."""
    body = "time.sleep(600) if i == 1 else (time.sleep(6 * (i > 0)), os._exit(3))"
    assert run_processes(children(body), 3, "again", patience_s=4) == 2
    line = "error: process 0 of 3 had no answer from another one (exit code 3); ended, as it hung: 1. The run resumes"
    assert capfd.readouterr().err.startswith(line)


def test_an_error_that_was_explained_is_not_repeated(capfd):
    body = "print('error: no', file=sys.stderr) if i == 0 else None; sys.exit(2)"
    assert run_processes(children(body), 2, "again") == 2
    assert capfd.readouterr().err == "error: no\n"


@pytest.mark.parametrize(
    ("number", "code", "handler"),
    [
        (signal.SIGINT, 130, "lambda *_: sys.exit(130)"),
        (signal.SIGTERM, 0, "lambda *_: sys.exit(0)"),
        (signal.SIGTERM, 143, "signal.SIG_DFL"),  # before a run watches for it
        (signal.SIGINT, 130, "signal.SIG_DFL"),
    ],
)
def test_signals_reach_every_process(number, code, handler):
    body = f"signal.signal({int(number)}, {handler}); os.write(1, b'up\\n')\ntime.sleep(600)"
    program = f"import sys\nfrom {run_processes.__module__} import run_processes\n"
    program += f"sys.exit(run_processes({children(body)!r}, 2, 'again'))"
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": path}
    pipe = subprocess.PIPE
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=pipe, stderr=pipe, text=True)
    try:
        assert [parent.stdout.readline() for _ in range(2)] == ["up\n", "up\n"]
        parent.send_signal(number)
        assert parent.wait(60) == code
        assert "was lost" not in parent.stderr.read()
    finally:
        parent.kill()
