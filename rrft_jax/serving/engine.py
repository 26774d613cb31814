"""The thread that owns the model: takes what waits, draws batches of equal shape, and moves streams on between them."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rrft_jax.serving.prepare import Work
from rrft_jax.serving.protocol import Answer

_log = logging.getLogger(__name__)

# A piece of a streamed text; at the end all answers, or the error that took their place.
Event = str | tuple[Answer, ...] | Exception
Reader = Callable[[Iterable[int], int, tuple[str, ...]], Generator[str, None, Answer]]


class Drawing(Protocol):
    """An object that draws tokens, such as `Programs`."""

    def batch(self, works: Sequence[Work]) -> Sequence[Sequence[Sequence[int]]]: ...

    def stream(self, work: Work) -> Iterator[int]: ...


class Busy(Exception):
    """The request was refused before it was begun: too many wait, or the server is stopping."""


@dataclass(eq=False)
class Job:
    """One request in the engine. emit: called from the engine's thread with each of its events."""

    work: Work
    emit: Callable[[Event], None]
    _gone: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Call when the client has left: the request is not begun, or its stream ends at the next token."""
        self._gone.set()

    @property
    def cancelled(self) -> bool:
        return self._gone.is_set()


class Engine:
    """read(tokens, limit, stop): see serving/text.py. max_rows: completions drawn at once, and streams open at once.
    max_waiting: requests that may wait. gather: seconds an idle engine waits for more requests after the first."""

    def __init__(self, drawing: Drawing, read: Reader, max_rows: int = 16, max_waiting: int = 64, gather: float = 0.01):
        self._drawing, self._read, self._rows, self._most, self._gather = drawing, read, max_rows, max_waiting, gather
        self._waiting: deque[Job] = deque()
        self._preparing = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @contextmanager
    def place(self) -> Generator[None]:
        """Reserves a place in the queue for a request that is being prepared, so that no more requests cost time and
        memory than may wait. Raises Busy where there is none."""
        with self._changed:
            self._check_room()
            self._preparing += 1
        try:
            yield
        finally:
            with self._changed:
                self._preparing -= 1

    def submit(self, work: Work, emit: Callable[[Event], None]) -> Job:
        """Raises Busy where no more may wait."""
        job = Job(work, emit)
        with self._changed:
            self._check_room()
            self._waiting.append(job)
            self._changed.notify()
        return job

    def _check_room(self) -> None:
        if self._stopping or not self.alive:
            raise Busy("the server is stopping")
        # One whose client has left takes no place.
        self._waiting = deque(other for other in self._waiting if not other.cancelled)
        if (waiting := len(self._waiting) + self._preparing) >= self._most:
            raise Busy(f"{waiting} requests are waiting already: try again later")

    def stop(self) -> None:
        """Refuses what waits with Busy, finishes what was begun, and then ends the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self, timeout: float | None = None) -> bool:
        """Waits for the thread's end; whether it has ended."""
        self._thread.join(timeout)
        return not self.alive

    def _run(self) -> None:
        streams: list[tuple[Job, Generator[str, None, Answer]]] = []
        while True:
            batch, begun = self._take(len(streams))
            if not (batch or begun or streams):
                return
            for job in begun:
                if (pieces := self._begin(job)) is not None:
                    streams.append((job, pieces))
            if batch:
                self._draw(batch)
            streams = [(job, pieces) for job, pieces in streams if self._advance(job, pieces)]

    def _take(self, streams: int) -> tuple[list[Job], list[Job]]:
        """The jobs of the next batch and the streams to begin, where `streams` are open; waits while there is nothing
        to do. Nothing at all without open streams: the end."""
        with self._changed:
            while True:
                if not streams:
                    self._wait()
                if self._stopping:
                    given_back, self._waiting = self._waiting, deque()
                    for job in given_back:
                        job.emit(Busy("the server is stopping"))
                    return [], []
                batch, begun = self._choose(streams)
                if batch or begun or streams:
                    return batch, begun

    def _wait(self) -> None:
        self._changed.wait_for(lambda: self._waiting or self._stopping)
        full = time.monotonic() + self._gather
        while len(self._waiting) < self._rows and not self._stopping and (left := full - time.monotonic()) > 0:
            self._changed.wait(left)

    def _choose(self, streams: int) -> tuple[list[Job], list[Job]]:
        """The first waiting job of a batch and all that fit into one with it; as many streams as may be open. The rest
        keeps waiting, in its order."""
        batch: list[Job] = []
        begun: list[Job] = []
        rest: deque[Job] = deque()
        for job in self._waiting:
            if job.cancelled:
                continue
            if job.work.stream:
                chosen = begun if streams + len(begun) < self._rows else rest
            else:
                chosen = batch if self._fits(job.work, batch) else rest
            chosen.append(job)
        self._waiting = rest
        return batch, begun

    def _fits(self, work: Work, batch: list[Job]) -> bool:
        if not batch:
            return True
        return work.shape == batch[0].work.shape and (len(batch) + 1) * work.group <= self._rows

    def _draw(self, batch: list[Job]) -> None:
        try:
            drawn = self._drawing.batch([job.work for job in batch])
            done = [
                tuple(_whole(self._read(tokens, job.work.limit, job.work.stop)) for tokens in rows)
                for job, rows in zip(batch, drawn, strict=True)
            ]
        except Exception as error:  # whatever it is, these requests get an answer and the next ones a working engine
            _log.exception("a batch of %d requests failed", len(batch))
            done = [error] * len(batch)
        for job, event in zip(batch, done, strict=True):
            job.emit(event)

    def _begin(self, job: Job) -> Generator[str, None, Answer] | None:
        try:
            return self._read(self._drawing.stream(job.work), job.work.limit, job.work.stop)
        except Exception as error:
            _log.exception("a stream could not be begun")
            job.emit(error)
            return None

    def _advance(self, job: Job, pieces: Generator[str, None, Answer]) -> bool:
        """Emits the next piece, or the end; whether there is more to come."""
        if job.cancelled:
            return False
        try:
            job.emit(next(pieces))
            return True
        except StopIteration as end:
            job.emit((end.value,))
        except Exception as error:
            _log.exception("a stream failed")
            job.emit(error)
        return False


def _whole(pieces: Generator[str, None, Answer]) -> Answer:
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return end.value
