"""Where a text ends: stop texts across pieces, limits, EOS."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.pretrained import resolve_init
from rrft_jax.processing.processor import encode_completion, load_processor
from rrft_jax.serving.protocol import Choice
from rrft_jax.serving.text import answer_pieces, until_stop
from tests.timing import within


@pytest.fixture(scope="module")
def nano():
    return load_processor(resolve_init("nano"))


def drain(generator):
    pieces = []
    while True:
        try:
            pieces.append(next(generator))
        except StopIteration as end:
            return pieces, end.value


@settings(deadline=None)
@given(st.lists(st.text("ab.", max_size=3)), st.lists(st.text("ab.", min_size=1, max_size=6), max_size=4))
def test_text_ends_before_the_stop_that_is_complete_first(pieces, stop):
    whole = "".join(pieces)
    got, stopped = drain(until_stop(pieces, tuple(stop)))
    assert all(got) and stopped == any(s in whole for s in stop)
    if not stopped:
        assert "".join(got) == whole
        return
    # The first piece with which a stop text is complete decides, and in it the earliest place.
    seen = next(seen for k in range(len(pieces)) if any(s in (seen := "".join(pieces[: k + 1])) for s in stop))
    assert "".join(got) == seen[: min(seen.find(s) for s in stop if s in seen)]


def test_what_cannot_be_a_stop_does_not_wait():
    got, stopped = drain(until_stop(["one ", "<", "b", "</", "x>", "</th", "ink>", "more"], ("</think>",)))
    assert got == ["one ", "<b", "</x>"] and stopped


def test_long_stop_texts_take_linear_time():
    """Whatever the text is, each character is looked at a few times: 1 million here, where a search that starts anew
    looks at 1 billion."""
    stop = ("a" * 999 + "b", "a" * 500 + "b" + "a" * 499, "ab" * 500)
    for pieces in (["a"] * 200_000, ["a" * 500] * 400, ["ab" * 499 + "c"] * 200):
        got, stopped = within(2, lambda pieces: drain(until_stop(pieces, stop)), pieces)
        assert "".join(got) == "".join(pieces) and not stopped
    got, stopped = drain(until_stop(["a"] * 2000 + ["b", "c"], stop))
    assert "".join(got) == "a" * 1001 and stopped


def test_reasons_and_counts(nano):
    ids = encode_completion(nano, "Three cubes.").tolist()
    pieces, whole = drain(answer_pieces(nano, ids, 100))
    assert whole == Choice("Three cubes.", len(ids), "stop") and "".join(pieces) == "Three cubes."
    assert drain(answer_pieces(nano, ids, len(ids)))[1].reason == "stop", "the EOS is the last token that fits"
    cut = drain(answer_pieces(nano, ids, len(ids) - 1))[1]
    assert cut == Choice("Three cubes.", len(ids) - 1, "length")
    stopped = drain(answer_pieces(nano, ids, 100, ("cub",)))[1]
    assert stopped.text == "Three " and stopped.reason == "stop" and stopped.tokens < len(ids)


def test_nothing_is_drawn_after_the_end(nano):
    ids = encode_completion(nano, "one two three four").tolist()
    for limit, stop, most in ((3, (), 3), (100, ("two",), len(ids) - 3), (100, (), len(ids))):
        drawn = []
        _, answer = drain(answer_pieces(nano, (drawn.append(i) or i for i in [*ids, *ids]), limit, stop))
        assert len(drawn) == answer.tokens <= most
