"""Several processes on one machine, watched by their parent: when one is lost it says which, and ends the others.

The survivors of a lost process abort inside the runtime, with its words and not ours: only a parent can say what
happened. It needs no jax, and holds no device.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from rrft_jax.parallel.names import ADDRESS, COUNT, LOST_OTHERS, NUMBER

STOPPED = 128 + signal.SIGINT  # after Ctrl-C; a process that SIGTERM stopped ends with 0
CAUSE_S = 5.0
EXPLAINED = 2  # the exit code of a process that said itself what was wrong
_CONSEQUENCES = (LOST_OTHERS, -signal.SIGABRT)


def run_processes(command: Sequence[str], count: int, resume: str, patience_s: float = 20.0) -> int:
    """Runs `command` in `count` processes of one run; the exit code of the whole.

    resume: the shell command that resumes the run after a loss. patience_s: how long the others may take to end by
    themselves once one is lost. SIGINT and SIGTERM are passed on to all.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, ADDRESS: address, COUNT: str(count)}
    processes = [
        # A group of its own: Ctrl-C at the terminal comes here, and is passed to each of them once.
        subprocess.Popen(command, env={**environment, NUMBER: str(i)}, process_group=0)
        for i in range(count)
    ]

    passed: list[int] = []

    def pass_on(number: int, _frame: Any) -> None:
        passed.append(number)
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    former = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        lost = _wait(processes)
        if lost is None:
            return max((process.returncode for process in processes), default=0)
        code = processes[lost].returncode
        killed = _end(processes, patience_s)
        remedy = f"The run resumes from its last checkpoint with:\n  {resume}"
        if passed and code in (-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGTERM):
            print(f"stopped before it could save. {remedy}", file=sys.stderr)
            return 128 + passed[0]
        if code == EXPLAINED:
            return EXPLAINED
        if code in _CONSEQUENCES and killed:
            hung = ", ".join(map(str, killed))
            what = f"process {lost} of {count} had no answer from another one ({_how(code)}); ended, as it hung: {hung}"
        else:
            what = f"process {lost} of {count} was lost ({_how(code)}), so the others were ended"
        print(f"error: {what}. {remedy}", file=sys.stderr)
        return EXPLAINED
    finally:
        _end(processes, 0.0)
        for number, handler in former.items():
            signal.signal(number, handler)


def _wait(processes: Sequence[subprocess.Popen]) -> int | None:
    """The number of the first process that fails; None when all have ended well, or stopped after a signal.

    A survivor may be seen to end before the one that it lost: then that one is waited for, CAUSE_S seconds.
    """
    decide_at = float("inf")
    while True:
        codes = [process.poll() for process in processes]
        failed = [i for i, code in enumerate(codes) if code not in (None, 0, STOPPED)]
        causes = [i for i in failed if codes[i] not in _CONSEQUENCES]
        if causes:
            return causes[0]
        if failed:
            decide_at = min(decide_at, time.monotonic() + CAUSE_S)
            if None not in codes or time.monotonic() >= decide_at:
                return failed[0]
        if None not in codes:
            return None
        time.sleep(0.1)


def _end(processes: Sequence[subprocess.Popen], patience_s: float) -> list[int]:
    """Waits for all, and kills those that take longer; the numbers of these."""
    end, killed = time.monotonic() + patience_s, []
    for number, process in enumerate(processes):
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed.append(number)
    return killed


def _how(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
