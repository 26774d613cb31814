"""Worker processes with a hard time limit per item, for checks that may never return.

A worker that overruns or crashes is killed and replaced; its item gets a reason in place of a value, and the rest of
the batch is computed. An item whose worker died is tried once more: it may have been killed from outside. Workers are
fresh interpreters that import the reward code alone: neither the main program (`multiprocessing` would run it again,
with everything it imports) nor a fork of a process that holds JAX threads. POSIX only.
"""

import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from rrft_jax.rewards.values import Outcome, SetupError

_ITEMS_PER_CHUNK = 16
_START = -1  # in place of an item's position
_DEAD = float("-inf")  # the deadline of a worker whose process has ended


@dataclass
class _Worker:
    process: subprocess.Popen
    connection: Connection
    deadline: float  # time.monotonic() by which the next message must have come
    ready: bool = False
    items: deque = field(default_factory=deque)  # (position, arguments) sent and not yet answered, in order


class Pool:
    """`map` a function over items in worker processes; use as a context manager, or call `close`.

    workers: processes at most; they start when the first item needs them and then stay.
    item_limit_s: seconds one item may take. batch_limit_s: seconds one `map` may take; later items are given up.
    memory_limit_mb: address space of one worker. initializer: run once in every worker, outside the item limit, such as
    `symbolic.load`; the default does nothing.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        item_limit_s: float = 5.0,
        batch_limit_s: float = 120.0,
        start_limit_s: float = 120.0,
        memory_limit_mb: int = 4096,
        initializer: Callable[[], Any] = int,
    ):
        self._size = workers or min(8, os.cpu_count() or 1)
        if self._size < 1 or item_limit_s <= 0:
            raise ValueError(f"Pool: workers ({workers}) and item_limit_s ({item_limit_s}) must be positive")
        self._item_limit_s, self._batch_limit_s, self._start_limit_s = item_limit_s, batch_limit_s, start_limit_s
        self._memory_limit_mb, self._initializer = memory_limit_mb, pickle.dumps(initializer)
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        # Also at interpreter exit and when the pool is forgotten: no process outlives it.
        self._finalizer = weakref.finalize(self, _stop, self._workers)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """End all workers and collect them. The pool starts new ones if it is used again."""
        with self._lock:
            _stop(self._workers)

    def map(self, function: Callable[..., Any], items: Sequence[Sequence[Any]]) -> list[Outcome]:
        """function(*item) for every item, in order: its value, or the reason why there is none.

        The function must be importable by name (not a lambda, not from the main program), else SetupError.
        """
        if not items:
            return []
        with self._lock:
            try:
                return self._map(function, items)
            except BaseException:
                # Ctrl-C included: a worker with a chunk in hand would answer into the next call.
                _stop(self._workers, patience_s=0.0)
                raise

    def _map(self, function: Callable[..., Any], items: Sequence[Sequence[Any]]) -> list[Outcome]:
        todo = deque(enumerate(items))
        outcomes: list[Outcome | None] = [None] * len(items)
        again: set[int] = set()  # positions that are tried a second time; _START for the start of a worker
        give_up = time.monotonic() + self._batch_limit_s
        chunk = max(1, min(_ITEMS_PER_CHUNK, -(-len(items) // (2 * self._size))))
        while todo or any(worker.items for worker in self._workers):
            self._start(-(-len(todo) // chunk))
            for worker in self._workers:
                if todo and worker.ready and not worker.items:
                    sent = [todo.popleft() for _ in range(min(chunk, len(todo)))]
                    if not self._send(worker, function, sent):
                        todo.extendleft(reversed(sent))
            self._listen(outcomes, give_up)
            self._cut(outcomes, todo, give_up, again)
        return [outcome for outcome in outcomes if outcome is not None]  # each has one by now

    def _start(self, wanted: int) -> None:
        idle = sum(not worker.items for worker in self._workers)
        for _ in range(min(self._size - len(self._workers), wanted - idle)):
            here, there = Pipe()
            command = [sys.executable, "-m", "rrft_jax.rewards.worker", str(there.fileno())]
            paths = [os.path.abspath(path) for path in sys.path]  # "" is the current folder
            process = subprocess.Popen(
                [*command, str(self._item_limit_s), str(self._memory_limit_mb)],
                stdin=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
                # Parallelism comes from the workers: no thread pools inside them.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
                process_group=0,  # the parent alone handles Ctrl-C
            )
            there.close()
            self._workers.append(_Worker(process, here, time.monotonic() + self._start_limit_s))
            here.send_bytes(self._initializer)

    def _send(self, worker: _Worker, function: Callable[..., Any], items: list[tuple[int, Sequence[Any]]]) -> bool:
        try:
            chunk = pickle.dumps((function, [arguments for _, arguments in items]))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise SetupError(f"{function!r} or its arguments cannot be sent to a worker: {error}. {_REMEDY}") from error
        try:
            worker.connection.send_bytes(chunk)
        except (BrokenPipeError, ConnectionResetError):
            worker.deadline = _DEAD  # it died while idle: these items are not the cause
            return False
        worker.items.extend(items)
        worker.deadline = time.monotonic() + self._start_limit_s
        return True

    def _listen(self, outcomes: list[Outcome | None], give_up: float) -> None:
        """Take every message that has come; wait for one until the nearest deadline."""
        watched = self._watched()
        busy = {worker.connection: worker for worker in watched if worker.deadline != _DEAD}
        nearest = min([give_up, *(worker.deadline for worker in watched)])
        ready = wait(list(busy), timeout=max(0.0, nearest - time.monotonic()))
        for connection, worker in ((c, w) for c, w in busy.items() if c in ready):
            try:
                while connection.poll():
                    self._take(worker, connection.recv(), outcomes)
            except (EOFError, ConnectionResetError):
                worker.deadline = _DEAD  # `_cut` replaces it

    def _watched(self) -> list[_Worker]:
        """All workers but the idle: those that owe a message, and those found dead."""
        return [worker for worker in self._workers if worker.items or not worker.ready or worker.deadline == _DEAD]

    def _take(self, worker: _Worker, message: tuple, outcomes: list[Outcome | None]) -> None:
        kind, *content = message
        if kind == "unloadable":
            raise SetupError(f"a reward worker cannot load the function: {content[0]}. {_REMEDY}")
        if kind == "ready":
            worker.ready = True
        if kind == "item":
            position, _ = worker.items.popleft()
            outcomes[position] = Outcome(*content)
        worker.deadline = time.monotonic() + self._item_limit_s

    def _cut(self, outcomes: list[Outcome | None], todo: deque, give_up: float, again: set[int]) -> None:
        """Kill what is dead or overdue, fail the item it was at, and put the rest of its chunk back.

        What died is tried again, unless it was.
        """
        now = time.monotonic()
        for worker in self._watched():
            if now < min(worker.deadline, give_up if worker.items else float("inf")):
                continue
            self._workers.remove(worker)
            code = _end(worker, patience_s=0.1 if worker.deadline == _DEAD else 0.0)
            place = worker.items[0][0] if worker.items else _START
            if worker.deadline == _DEAD and place not in again and (worker.ready or code < 0):
                again.add(place)
                todo.extendleft(reversed(worker.items))
                continue
            if not worker.ready:
                raise SetupError(f"a reward worker did not start (exit code {code}): its error output says why")
            if worker.items:
                position, _ = worker.items.popleft()
                outcomes[position] = Outcome(error=self._why(worker, code, now))
                todo.extendleft(reversed(worker.items))
        if now >= give_up:
            while todo:
                outcomes[todo.popleft()[0]] = Outcome(error=f"TimeoutError: batch took over {self._batch_limit_s:g} s")

    def _why(self, worker: _Worker, code: int | None, now: float) -> str:
        if worker.deadline == _DEAD:
            return f"RuntimeError: the worker died (exit code {code})"
        if now < worker.deadline:
            return f"TimeoutError: batch took over {self._batch_limit_s:g} s"
        return f"TimeoutError: took over {self._item_limit_s:g} s"


_REMEDY = "Define the function at the top of an importable module, not in the main program or another function"


def _stop(workers: list[_Worker], patience_s: float = 0.5) -> None:
    for worker in workers:
        worker.connection.close()
    while workers:
        # Only an idle worker notices the closed socket.
        _end(workers[-1], 0.0 if workers[-1].items else patience_s)
        workers.pop()


def _end(worker: _Worker, patience_s: float) -> int:
    """Close, wait a little for an orderly end, kill, and collect the process. Returns its exit code."""
    worker.connection.close()
    try:
        if patience_s:
            return worker.process.wait(patience_s)
    except subprocess.TimeoutExpired:
        pass
    worker.process.kill()
    return worker.process.wait()
