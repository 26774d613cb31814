"""What is asked and what comes back, whoever answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Question:
    """One prompt. number: its place in the benchmark, from which its draws are seeded. text: the user's turn.
    images: PIL images, uint8[h, w, 3] arrays or file paths, in front of the text or at marks in it or in history, which
    is (role, text) of the turns before (`processing.chat.place`). system: None for the default."""

    id: str
    number: int
    text: str
    images: tuple = ()
    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Reply:
    """The answers to one question, `Decoding.samples` of them. lengths: tokens of each, None where the server does not
    say. finished: whether each ended by itself (False: cut at max_new_tokens)."""

    id: str
    texts: tuple[str, ...]
    lengths: tuple[int | None, ...]
    finished: tuple[bool, ...]


@runtime_checkable
class Answerer(Protocol):
    """Answers questions in an order of its own, each reply as soon as it is there: what came out is kept when the
    rest is interrupted. A question that cannot be answered raises an error that names its id."""

    def __call__(self, questions: Sequence[Question]) -> Iterator[Reply]: ...
