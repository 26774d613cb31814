"""launch/chat.py at a real terminal, with the bundled model. Presses elsewhere: test_terminal.py, for Python's readline
sees a signal that comes right before it waits for keys only at the next key."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 120
CTRL_C = b"\x03"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("setsid") is None, reason="setsid gives a terminal")]


def test_an_answer_is_stopped_and_the_conversation_goes_on():
    master, slave = pty.openpty()
    command = ["setsid", "--ctty", "--wait", sys.executable, str(ROOT / "launch" / "chat.py"), "--checkpoint=nano"]
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    options = ["--compilation_cache=", "--max_new_tokens=64"]  # compiling takes long enough to press amid an answer
    chat = subprocess.Popen([*command, *options], stdin=slave, stdout=slave, stderr=slave, env=env, cwd=ROOT)
    os.close(slave)
    said = b""

    def wait_for(words):
        """Reads on until the terminal shows words that it did not show before."""
        nonlocal said
        deadline, shown = time.monotonic() + LIMIT_S, len(re.findall(words, said))
        while len(re.findall(words, said)) == shown:
            assert time.monotonic() < deadline and chat.poll() is None, said.decode()
            if select.select([master], [], [], 2.0)[0]:
                said += os.read(master, 4096)

    try:
        wait_for(rb"(?s)/help lists the commands.*> ")
        os.write(master, b"How many cubes are there?\n")
        wait_for(rb"cubes are there\?\r\n")  # the terminal's echo: the question is with the program
        time.sleep(1)
        os.write(master, CTRL_C)
        wait_for(rb"\(stopped\)")
        os.write(master, b"How many spheres are there?\n")
        wait_for(rb"</answer>")
        os.write(master, b"/quit\n")
        assert chat.wait(LIMIT_S) == 0
    finally:
        chat.kill()
        os.close(master)
    assert b"Traceback" not in said
