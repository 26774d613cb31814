"""From a token stream to the text a client gets: its limit, its stop texts, and why it ended."""

from collections.abc import Generator, Iterable
from itertools import islice

from rrft_jax.evaluation.answer import text_pieces
from rrft_jax.processing.processor import Processor
from rrft_jax.serving.protocol import Answer


def answer_pieces(
    processor: Processor, tokens: Iterable[int], limit: int, stop: tuple[str, ...] = ()
) -> Generator[str, None, Answer]:
    """Yields pieces of the text, and returns the whole answer; no token after its end is asked for.

    The answer ends before the first of `stop`, at an EOS, or after `limit` tokens (reason 'length').
    """
    drawn, ended, text = 0, False, []

    def counted():
        nonlocal drawn, ended
        for token in islice(tokens, limit):
            drawn, ended = drawn + 1, token in processor.eos_token_ids
            yield token
            if ended:
                return

    pieces = until_stop(text_pieces(processor, counted()), stop)
    while True:
        try:
            text.append(next(pieces))
        except StopIteration as end:
            return Answer("".join(text), drawn, "stop" if ended or end.value else "length")
        yield text[-1]


def until_stop(pieces: Iterable[str], stop: tuple[str, ...]) -> Generator[str, None, bool]:
    """The pieces up to the first text of `stop`, which is left out; returns whether there was one.

    What may be the start of a stop text waits until that is known.
    """
    held = ""
    for piece in pieces:
        held += piece
        found = [place for place in map(held.find, stop) if place >= 0]
        if found:
            if min(found):
                yield held[: min(found)]
            return True
        start = max((k for s in stop for k in range(1, len(s)) if held.endswith(s[:k])), default=0)
        if len(held) > start:
            yield held[: len(held) - start]
        held = held[len(held) - start :]
    if held:
        yield held
    return False
