"""A conversation in a terminal: what is typed, pictures, the answer as it is drawn, and Ctrl-C."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

HELP = """/image FILE   shows a picture with the next question (repeat it for several)
/reset        forgets the conversation and its pictures
/help         this list
/quit         ends, as Ctrl-D does; Ctrl-C stops an answer"""
Turn = tuple[str, Sequence]


class GivenUp(KeyboardInterrupt):
    """A second Ctrl-C during one answer."""


def talk(
    reply: Callable[[Sequence[Turn], int], Iterator[str]],
    prompt: Callable[[str], str],
    read_image: Callable[[str], Any],
    pictures: Sequence = (),
    system: str | None = None,
    read_line: Callable[[str], str] = input,
    write: Callable[[str], object] = lambda text: print(text, end="", flush=True),
) -> None:
    """Asks for lines and answers them until /quit or the end of the input.

    reply(turns, number): pieces of the next answer, see `evaluation.answer.make_reply`; number counts the questions.
    prompt: from a question to the user's text. read_image: from the path of /image to a picture. pictures: of the first
    question. A ValueError of the two is printed, and the conversation stays as it was. Ctrl-C stops an answer, and ends
    nothing wherever else it falls; a second one during the same answer raises GivenUp.
    """
    opening: list[Turn] = [] if system is None else [("system", (system,))]
    conversation = _Conversation(reply, prompt, read_image, write, opening, list(opening), list(pictures))
    while True:
        try:
            if not conversation.take(read_line(conversation.invitation()).strip()):
                return
        except EOFError:
            write("\n")
            return
        except GivenUp:
            raise
        except KeyboardInterrupt:
            write("\n(Ctrl-D or /quit ends)\n")


@dataclass
class _Conversation:
    reply: Callable[[Sequence[Turn], int], Iterator[str]]
    prompt: Callable[[str], str]
    read_image: Callable[[str], Any]
    write: Callable[[str], object]
    opening: list[Turn]
    turns: list[Turn]
    waiting: list
    number: int = 0

    def invitation(self) -> str:
        return f"[{_count(self.waiting)}] > " if self.waiting else "> "

    def take(self, line: str) -> bool:
        """Does what a line says; False for /quit."""
        command, _, rest = line.partition(" ")
        if command == "/quit":
            return False
        if command == "/help":
            self.write(f"{HELP}\n")
        elif command == "/reset":
            self.turns, self.waiting = list(self.opening), []
            self.write("(a new conversation)\n")
        elif command == "/image":
            self._show(os.path.expanduser(rest.strip().strip("'\"")))
        elif line.startswith("/") and "/" not in command[1:]:
            self.write(f"error: {command} is no command: /help lists them\n")
        elif line:
            self._ask(line)
        return True

    def _show(self, path: str) -> None:
        try:
            self.waiting.append(self.read_image(path))
            self.write(f"({_count(self.waiting)} with the next question)\n")
        except ValueError as error:
            self.write(f"error: {error}\n")

    def _ask(self, question: str) -> None:
        asked: Turn = "user", (*self.waiting, self.prompt(question))
        try:
            said, stopped = _answer(self.reply([*self.turns, asked], self.number), self.write)
        except ValueError as error:  # too long for the model, or a picture too narrow
            self.write(f"error: {error}; /reset begins again\n")
            return
        self.number += 1
        if said:  # of an answer that was stopped at once nothing can be continued
            self.turns, self.waiting = [*self.turns, asked, ("assistant", (said,))], []
        self.write(" (stopped)\n" if stopped else "\n")


def _answer(pieces: Iterator[str], write: Callable[[str], object]) -> tuple[str, bool]:
    """Writes the answer as it comes; returns it, or as much of it as there was before Ctrl-C, and whether that came."""
    said = ""
    with stopped_by_interrupt() as stopped:
        for piece in pieces:
            if stopped():
                break
            said += piece
            write(piece)
        return said, stopped()


@contextmanager
def stopped_by_interrupt() -> Generator[Callable[[], bool], None, None]:
    """Ctrl-C sets what stopped() says instead of raising: an exception amid a device program would leave buffers that
    were given away. A second one raises, for a program that never comes back."""
    pressed = threading.Event()

    def handle(number: int, frame: Any) -> None:
        if pressed.is_set():
            raise GivenUp
        pressed.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _count(pictures: Sequence) -> str:
    return f"{len(pictures)} picture{'s' if len(pictures) > 1 else ''}"
