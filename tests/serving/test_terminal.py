"""A conversation without a model, and launch/chat.py through a pseudo-terminal."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rrft_jax.serving.terminal import talk

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "tests" / "fixtures" / "super-clevr" / "images" / "superCLEVR_new_000000.png"


def told(lines, reply, **options):
    """What talk wrote while these lines were typed; an exception among them is raised in place of a line."""
    lines, out = iter(lines), []

    def read_line(prompt):
        line = next(lines, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    talk(reply, lambda q: f"<{q}>", lambda path: f"picture of {path}", read_line=read_line, write=out.append, **options)
    return "".join(out)


def test_turns_pictures_and_reset():
    seen = []

    def reply(turns, number):
        seen.append((tuple(turns), number))
        if "<long>" in turns[-1][1]:
            raise ValueError("too long")
        yield from ("an", "swer")

    lines = ["one", "/image a.png", KeyboardInterrupt(), "long", "two", "/nonsense", "/", "/reset", "", "three"]
    text = told(lines, reply, pictures=["p"], system="s")
    system, first = ("system", ("s",)), ("user", ("p", "<one>"))
    answer, second = ("assistant", ("answer",)), ("user", ("picture of a.png", "<two>"))
    assert [(turns, k) for turns, k in seen if "<long>" not in turns[-1][1]] == [
        ((system, first), 0), ((system, first, answer, second), 1), ((system, ("user", ("<three>",))), 2)
    ]  # fmt: skip
    assert "error: too long; /reset begins again" in text and "/nonsense is no command" in text
    assert text.count("answer\n") == 3 and "Ctrl-D or /quit ends" in text


class Terminal:
    """A program behind a pseudo-terminal, as a person has it."""

    def __init__(self, *command):
        self.master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "dumb"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, pattern, seconds=300):
        """What is written up to the first match of the pattern."""
        text, end = "", time.monotonic() + seconds
        while not re.search(pattern, text):
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {pattern!r} in {text!r}"
            text += os.read(self.master, 4096).decode(errors="replace")
        return text


@pytest.mark.slow
def test_chat_in_a_terminal_answers_again_after_ctrl_c():
    terminal = Terminal(sys.executable, "launch/chat.py", "--template=none", "--compilation_cache=")
    try:
        terminal.until(r"nano listens[^>]*> $")
        terminal.type("/image nowhere.png\n")
        terminal.until(r"error: /image nowhere.png: no such file\r\n> $")
        terminal.type(f"/image {PICTURE}\n")
        terminal.until(r"\[1 picture\] > $")
        terminal.type("How many trucks are there?\n")
        terminal.until(r"trucks are there\?\r\n")
        time.sleep(0.3)  # its programs are compiled now, which takes seconds
        terminal.type("\x03")
        terminal.until(r" \(stopped\)\r\n\[1 picture\] > $")
        terminal.type("\x03")
        terminal.until(r"/quit ends\)\r\n\[1 picture\] > $")
        for question in ("How many trucks are there?", "And cars?"):  # the second goes without the picture
            terminal.type(f"{question}\n")
            assert len(terminal.until(r"\r\n.+\r\n> $")) > len(f"{question}\r\n> ")
        terminal.type("\x04")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)
