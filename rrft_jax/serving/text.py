"""From a token stream to the text a client gets: its limit, its stop texts, and why it ended."""

from collections.abc import Generator, Iterable, Iterator
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

    def counted() -> Iterator[int]:
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

    What may be the start of a stop text waits until that is known. Each character is looked at once per stop text.
    """
    searches = [_Search(text) for text in stop]
    held = ""
    for piece in pieces:
        ends = [search.read(piece) for search in searches]
        found = [len(held) + end - len(text) for end, text in zip(ends, stop, strict=True) if end]
        held += piece
        if found:
            if min(found):
                yield held[: min(found)]
            return True
        start = max((search.matched for search in searches), default=0)
        if len(held) > start:
            yield held[: len(held) - start]
        held = held[len(held) - start :]
    if held:
        yield held
    return False


class _Search:
    """Finds a text in pieces in linear time (Knuth, Morris and Pratt 1977).

    matched: characters of the text's longest beginning with which what was read ends.
    """

    def __init__(self, text: str):
        self._text, self.matched = text, 0
        # [k]: the longest beginning of the text, shorter than k + 1, that its first k + 1 characters end with.
        self._shorter = [0]
        for character in text[1:]:
            self._shorter.append(self._next(self._shorter[-1], character))

    def read(self, piece: str) -> int:
        """The characters of `piece` with which the text is complete for the first time; 0: it is not."""
        for k, character in enumerate(piece, 1):
            self.matched = self._next(self.matched, character)
            if self.matched == len(self._text):
                return k
        return 0

    def _next(self, matched: int, character: str) -> int:
        while matched and self._text[matched] != character:
            matched = self._shorter[matched - 1]
        return matched + (self._text[matched] == character)
