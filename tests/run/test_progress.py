import fcntl
import io
import os
import pty
import select
import struct
import termios

import numpy as np

from rrft_jax.run.progress import Progress, Row, before_after_table, duration, reward_columns


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_plain_lines_in_a_log():
    stream, clock = io.StringIO(), Clock()
    shown = reward_columns([("accuracy", "rewards/accuracy/mean", "{:.3f}")])
    with Progress(90, 20, 10, shown, stream, clock) as progress:
        for step in range(21, 91):
            clock.now += 60.0 if step == 21 else 2.0  # the first step compiles
            metrics = {
                "reward": np.float32(1.5),
                "rewards/accuracy/mean": 0.25,
                "kl": 0.00012,
                "tokens_per_second": 12345.6,
            }
            progress.update(step, metrics if step != 30 else {"reward": 1.0})
        progress.note("evaluated")
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines[:-1]] == [f"{n}/90" for n in (21, 30, 40, 50, 60, 70, 80, 90)]
    assert lines[0] == "step 21/90  reward 1.500  accuracy 0.250  kl 0.0001  tok/s 12,346  eta ?"
    assert lines[1] == "step 30/90  reward 1.000  eta 2:00"
    assert lines[-2].endswith("eta 0:00") and lines[-1] == "evaluated"


def test_a_bar_on_a_terminal():
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    with os.fdopen(follower, "w") as stream:
        with Progress(5, stream=stream) as progress:
            for step in range(1, 6):
                progress.update(step, {"reward": step / 2})
                progress.note(f"note {step}")
        stream.flush()
        shown = ""
        while "\n" not in shown or select.select([leader], [], [], 0)[0]:
            shown += os.read(leader, 4096).decode()
    os.close(leader)
    assert "\r" in shown and "5/5 |" in shown and "reward 2.500" in shown and "note 3" in shown
    assert "step 1/5" not in shown


def test_duration():
    assert [duration(s) for s in (7.4, 754, 3723, 59.7)] == ["0:07", "12:34", "1:02:03", "1:00"]


def test_table():
    rows = [
        Row("in-domain accuracy", 0.405, 0.5625),
        Row("share that reasons", None, 1.0),
        Row("mean length", 31.0, 28.5, share=False),
    ]
    assert (
        before_after_table(rows)
        == """\
---------------------------------------------
                    before    after    change
---------------------------------------------
in-domain accuracy  40.5 %   56.2 %  +15.7 pp
share that reasons       -  100.0 %         -
mean length          31.00    28.50     -2.50
---------------------------------------------"""
    )
