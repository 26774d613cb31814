"""What an evaluation asks and what it gets back, whoever answers: our sampler or a served model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rrft_jax.remote.endpoint import Decoding

# Reason-RFT's evaluation, which has no seed of its own.
PAPER = Decoding(temperature=0.1, top_k=50, top_p=0.9, max_new_tokens=768)
GREEDY = Decoding()


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


class Answerer(Protocol):
    """Answers questions in an order of its own, each reply as soon as it is there: what came out is kept when the
    rest is interrupted. A question that cannot be answered raises an error that names its id."""

    def __call__(self, questions: Sequence[Question]) -> Iterator[Reply]: ...
