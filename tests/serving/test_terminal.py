"""A conversation without a model."""

import os
import signal

import pytest

from rrft_jax.serving.terminal import HELP, GivenUp, talk

LEAVE = "\n(Ctrl-D or /quit ends)\n"


@pytest.fixture
def interrupts():
    """SIGINT as Python handles it: a job in the background of a shell starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


def test_ctrl_c_right_behind_a_stopped_answer_and_amid_a_command_ends_nothing(interrupts):
    """Where the press falls is a matter of microseconds: the handler of the answer may be gone, or not yet."""
    out, lines = [], iter(["one", "two", "/help", "/quit"])

    def press():
        os.kill(os.getpid(), signal.SIGINT)

    def reply(turns, number):
        yield "an"
        if number == 0:
            press()
        yield "swer"

    def write(text):
        out.append(text)
        if text in (" (stopped)\n", HELP + "\n"):
            press()

    talk(reply, str, str, read_line=lambda invitation: next(lines), write=write)
    assert out == ["an", " (stopped)\n", LEAVE, "an", "swer", "\n", HELP + "\n", LEAVE]


def test_a_second_ctrl_c_during_an_answer_gives_up(interrupts):
    def reply(turns, number):
        yield "an"
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        yield "swer"

    with pytest.raises(GivenUp):
        talk(reply, str, str, read_line=lambda invitation: "one", write=lambda text: None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
