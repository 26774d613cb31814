"""launch/chat.py through a pseudo-terminal, as a person has it, with a model whose answers do not end by themselves."""

import fcntl
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from rrft_jax.pretrained import resolve_init

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "tests" / "fixtures" / "super-clevr" / "images" / "superCLEVR_new_000000.png"
EOS = (1006, 1008)


class Terminal:
    """A program behind a pseudo-terminal, as a person has it."""

    def __init__(self, *command):
        self.master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "dumb", "JAX_PLATFORMS": "cpu"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # which Ctrl-C goes to
        )  # fmt: skip
        os.close(slave)

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, pattern, seconds=300):
        """Reads up to a match of the pattern, which is the first one."""
        text, end = "", time.monotonic() + seconds
        while not re.search(pattern, text, re.DOTALL):
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {pattern!r} in {text!r}"
            text += os.read(self.master, 4096).decode(errors="replace")


@pytest.fixture
def endless(tmp_path):
    """nano with embeddings of 0 for the tokens that end an answer: their logit is 0, and that of another greater."""
    folder = tmp_path / "endless"
    shutil.copytree(resolve_init("nano"), folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][list(EOS)] = 0
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.mark.slow
def test_chat_in_a_terminal_answers_again_after_ctrl_c(endless):
    chat = "launch/chat.py", f"--checkpoint={endless}", "--template=none", "--max_new_tokens=3000"
    terminal = Terminal(sys.executable, *chat, "--compilation_cache=")
    try:
        terminal.until(r"endless is ready; /help lists the commands\r\n> $")
        terminal.type("/image nowhere.png\n")
        terminal.until(r"error: /image nowhere.png: no such file\r\n> $")
        terminal.type(f"/image {PICTURE}\n")
        terminal.until(r"\[1 picture\] > $")
        for question in ("How many trucks are there?", "And cars?"):  # the second goes without the picture
            terminal.type(f"{question}\n")
            terminal.until(f"{re.escape(question)}\r\n.")  # its first token: nothing is compiled any more
            terminal.type("\x03")
            terminal.until(r" \(stopped\)\r\n(\[1 picture\] )?> $")
        terminal.type("\x03")
        terminal.until(r"\(Ctrl-D or /quit ends\)\r\n> $")
        terminal.type("\x04")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)
