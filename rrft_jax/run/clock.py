"""Where the time of a step goes: phases that add up to it, and how much of it the devices had nothing to do."""

import resource
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax


def cpu_seconds() -> float:
    """CPU time of this process so far, and of those it started that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Clock:
    """A stopwatch for one step after the other.

    start() begins a step; lap(name) gives the time since the last call to phase `name`; watch(arrays), called when a
    program has just been dispatched, counts as "a program runs" until its results are there; finish() ends the step.
    The time between finish() and start() (evaluation, checkpoints, writing) belongs to no step and is reported apart.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self._now = now
        self._waiter = ThreadPoolExecutor(1, thread_name_prefix="clock")
        self._ended: float | None = None
        self.start()

    def start(self) -> None:
        self._begin = self._last = self._now()
        self._between = 0.0 if self._ended is None else self._begin - self._ended
        self._phases: dict[str, float] = {}
        self._runs: list[tuple[float, Future]] = []

    def lap(self, name: str) -> None:
        now = self._now()
        self._phases[name] = self._phases.get(name, 0.0) + now - self._last
        self._last = now

    def watch(self, arrays: Any) -> None:
        self._runs.append((self._now(), self._waiter.submit(self._ready, arrays)))

    def finish(self) -> dict[str, float]:
        """step_time, the timing/<phase> seconds that add up to it, timing/idle_share: the share of step_time with no
        program running (of this process), and between_steps: seconds since the step before."""
        end = self._last
        runs = [(begin, min(done.result(), end)) for begin, done in self._runs]
        total = end - self._begin
        busy = covered(runs)
        phases = {f"timing/{name}": seconds for name, seconds in self._phases.items()}
        idle = 1 - busy / total if total else 0.0
        self._ended = self._now()
        return {"step_time": total, **phases, "timing/idle_share": idle, "between_steps": self._between}

    def close(self) -> None:
        self._waiter.shutdown()

    def __enter__(self) -> "Clock":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _ready(self, arrays: Any) -> float:
        jax.block_until_ready(arrays)
        return self._now()


def covered(intervals: list[tuple[float, float]]) -> float:
    """The length of the union of intervals (begin, end)."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
