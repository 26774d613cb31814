"""The engine without a model: what is batched with what, order, streams between batches, the end."""

import queue
import threading
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from rrft_jax.data.index import Bucket
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.serving.engine import Busy, Engine
from rrft_jax.serving.prepare import Work
from rrft_jax.serving.protocol import Choice

WAIT = 60  # seconds: only a hanging test takes so long
WORK = Work(None, Bucket(64), Sampling(0.0), 1, 1, 3, 16, 0, (), False)


def read(tokens, limit, stop):
    """Tokens as text, one piece each."""
    text = []
    for token in islice(tokens, limit):
        text.append(f"{token} ")
        yield text[-1]
    return Choice("".join(text), len(text), "length")


class Drawing:
    """Draws 10 * number, 10 * number + 1, ...; holds each batch until `gate` is open, and keeps a record."""

    def __init__(self):
        self.gate, self.batches, self.entered = threading.Event(), [], threading.Semaphore(0)
        self.pulled = 0

    def batch(self, works):
        self.batches.append([work.number for work in works])
        self.entered.release()
        assert self.gate.wait(WAIT)
        if any(work.number == 13 for work in works):
            raise RuntimeError("unlucky")
        return [np.arange(10 * w.number, 10 * w.number + 5)[None].repeat(w.n, 0) for w in works]

    def stream(self, work):
        for token in range(10 * work.number, 10 * work.number + 5):
            self.pulled += 1
            yield token


class Client:
    def __init__(self, engine, work):
        self.events = queue.SimpleQueue()
        self.job = engine.submit(work, self.events.put)

    def next(self):
        return self.events.get(timeout=WAIT)


@pytest.fixture
def drawing():
    return Drawing()


@pytest.fixture
def engine(drawing):
    engine = Engine(drawing, read, max_rows=4, max_waiting=5)
    yield engine
    drawing.gate.set()
    engine.stop()
    assert engine.join(WAIT)


def held(engine, drawing, number=1):
    """A client whose batch is being drawn, so that whatever comes next has to wait."""
    client = Client(engine, replace(WORK, number=number))
    assert drawing.entered.acquire(timeout=WAIT)
    return client


def test_equal_shapes_share_batches_and_the_order_is_kept(engine, drawing):
    first = held(engine, drawing)
    other = replace(WORK, sampling=Sampling(1.0))
    works = [replace(WORK, number=2), replace(other, number=3), replace(WORK, number=4), replace(other, number=5)]
    clients = [Client(engine, work) for work in works]
    drawing.gate.set()
    assert first.next() == (Choice("10 11 12 ", 3, "length"),)
    texts = [client.next()[0].text for client in clients]
    assert texts == ["20 21 22 ", "30 31 32 ", "40 41 42 ", "50 51 52 "]
    assert drawing.batches == [[1], [2, 4], [3, 5]]


def test_batches_hold_no_more_than_max_rows(engine, drawing):
    first = held(engine, drawing)
    clients = [Client(engine, replace(WORK, number=k, n=2, group=2)) for k in (2, 3, 4)]
    drawing.gate.set()
    assert len(first.next()) == 1 and [len(client.next()) for client in clients] == [2, 2, 2]
    assert drawing.batches == [[1], [2, 3], [4]]


def test_too_many_waiting_are_refused(engine, drawing):
    first = held(engine, drawing)
    clients = [Client(engine, replace(WORK, number=k)) for k in range(2, 7)]
    with pytest.raises(Busy, match="5 requests are waiting"):
        engine.submit(WORK, print)
    clients[2].job.cancel()
    late = Client(engine, replace(WORK, number=8))
    drawing.gate.set()
    for client in [first, *clients[:2], *clients[3:], late]:
        assert isinstance(client.next(), tuple)
    assert 4 not in sum(drawing.batches, []) and clients[2].events.empty(), "a client that left is not worked for"


def test_failure_reaches_its_clients_and_the_engine_goes_on(engine, drawing):
    drawing.gate.set()
    error = Client(engine, replace(WORK, number=13)).next()
    assert isinstance(error, RuntimeError) and engine.alive
    assert Client(engine, replace(WORK, number=2)).next()[0].text == "20 21 22 "


def test_streams_come_in_pieces_and_end_with_the_answer(engine):
    client = Client(engine, replace(WORK, number=7, stream=True))
    assert [client.next() for _ in range(4)] == ["70 ", "71 ", "72 ", (Choice("70 71 72 ", 3, "length"),)]


def test_streams_go_on_together_and_batches_between_them(drawing):
    """The order of all events of two streams and a batch that arrive while the engine is held."""
    engine, order = Engine(drawing, read, max_rows=2), queue.SimpleQueue()
    first = held(engine, drawing)
    for name, work in (
        ("a", replace(WORK, number=1, stream=True)),
        ("b", replace(WORK, number=2, stream=True)),
        ("c", replace(WORK, number=3, stream=True)),
        ("batch", replace(WORK, number=4)),
    ):
        engine.submit(work, lambda event, name=name: order.put((name, event)))
    drawing.gate.set()
    first.next()
    events = [order.get(timeout=WAIT) for _ in range(13)]
    names = [name for name, _ in events]
    assert names[0] == "batch" and names[1:9] == ["a", "b"] * 4 and names[9:] == ["c"] * 4, "two at a time"
    engine.stop()
    assert engine.join(WAIT)


def test_stream_of_a_client_that_left_ends(engine, drawing):
    pieces, first, left = [], threading.Event(), threading.Event()

    def emit(event):
        pieces.append(event)
        first.set()
        assert left.wait(WAIT)

    job = engine.submit(replace(WORK, limit=5, stream=True), emit)
    assert first.wait(WAIT)
    job.cancel()
    left.set()
    other = Client(engine, replace(WORK, number=2, stream=True))
    while isinstance(other.next(), str):
        pass
    assert pieces == ["0 "] and drawing.pulled == 1 + 3


def test_stop_gives_back_what_waits_and_finishes_what_was_begun(drawing):
    engine = Engine(drawing, read)
    first = held(engine, drawing)
    waiting = Client(engine, replace(WORK, number=2))
    engine.stop()
    with pytest.raises(Busy, match="stopping"):
        engine.submit(WORK, print)
    drawing.gate.set()
    assert isinstance(first.next(), tuple)
    assert isinstance(waiting.next(), Busy)
    assert engine.join(WAIT) and drawing.batches == [[1]]


def test_stop_lets_open_streams_end():
    drawing, reached = Drawing(), threading.Event()
    engine, events = Engine(drawing, read), queue.SimpleQueue()

    def emit(event):
        events.put(event)
        if event == "70 ":
            engine.stop()
            reached.set()

    engine.submit(replace(WORK, number=7, stream=True), emit)
    assert reached.wait(WAIT) and engine.join(WAIT)
    assert [events.get() for _ in range(4)][-1] == (Choice("70 71 72 ", 3, "length"),)
