"""A conversation without a model."""

from rrft_jax.serving.terminal import talk


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
