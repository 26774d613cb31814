"""What is asked and what comes back, whoever answers."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rrft_jax.data.example import Example


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


@runtime_checkable
class BatchAnswerer(Answerer, Protocol):
    """Our sampler. done: ids that need no reply. Batches are cut from all questions, and one of which some are done is
    asked as a whole, so that a reply has the same bits after an interruption as without."""

    def __call__(self, questions: Sequence[Question], done: Collection[str] = ()) -> Iterator[Reply]: ...


def to_questions(examples: Sequence[Example], ask: Callable[[Example], str]) -> list[Question]:
    """The questions of a benchmark, each numbered by its place: whoever is left of them keeps its draws."""
    return [Question(e.id, number, ask(e), e.images, e.system, e.history) for number, e in enumerate(examples)]
