"""A conversation in a terminal: what is typed, pictures, the answer as it is drawn, and Ctrl-C."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

HELP = """/image FILE   shows a picture with the next question (repeat it for several)
/reset        forgets the conversation and its pictures
/help         this list
/quit         ends, as Ctrl-D does; Ctrl-C stops an answer"""
Turn = tuple[str, Sequence]


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
    question. A ValueError of the two is printed, and the conversation stays as it was.
    """
    opening: list[Turn] = [] if system is None else [("system", (system,))]
    turns, waiting, number = list(opening), list(pictures), 0
    while True:
        try:
            line = read_line("> " if not waiting else f"[{_count(waiting)}] > ").strip()
        except EOFError:
            write("\n")
            return
        except KeyboardInterrupt:
            write("\n(Ctrl-D or /quit ends)\n")
            continue
        command, _, rest = line.partition(" ")
        if not line:
            continue
        if command == "/quit":
            return
        if command == "/help":
            write(f"{HELP}\n")
        elif command == "/reset":
            turns, waiting = list(opening), []
            write("(a new conversation)\n")
        elif command == "/image":
            try:
                waiting.append(read_image(os.path.expanduser(rest.strip().strip("'\""))))
                write(f"({_count(waiting)} with the next question)\n")
            except ValueError as error:
                write(f"error: {error}\n")
        elif line.startswith("/") and "/" not in command[1:]:
            write(f"error: {command} is no command: /help lists them\n")
        else:
            asked: Turn = "user", (*waiting, prompt(line))
            try:
                said = _answer(reply, [*turns, asked], number, write)
            except ValueError as error:  # too long for the model, or a picture too narrow
                write(f"error: {error}; /reset begins again\n")
                continue
            number += 1
            if said:  # of an answer that was stopped at once nothing can be continued
                turns += [asked, ("assistant", (said,))]
                waiting = []


def _answer(reply: Callable, turns: Sequence[Turn], number: int, write: Callable[[str], object]) -> str:
    """Writes the answer as it comes and returns it, or as much of it as there was before Ctrl-C."""
    said = ""
    with stopped_by_interrupt() as stopped:
        for piece in reply(turns, number):
            if stopped():
                break
            said += piece
            write(piece)
        write(" (stopped)\n" if stopped() else "\n")
    return said


@contextmanager
def stopped_by_interrupt() -> Generator[Callable[[], bool], None, None]:
    """Ctrl-C sets what stopped() says instead of raising: an exception amid a device program would leave buffers that
    were given away. A second one raises, for a program that never comes back."""
    pressed = threading.Event()

    def handle(number: int, frame: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _count(pictures: Sequence) -> str:
    return f"{len(pictures)} picture{'s' if len(pictures) > 1 else ''}"
