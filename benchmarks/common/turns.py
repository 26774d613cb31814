"""Sides that are compared run in their own processes and take turns, so that both meet the same machine.

A side is a module-level function side(options, turn). It imports what it needs, calls `turn.imported()`, sets itself
up, calls `turn.ready(**info)`, and then

    while turn.begin():
        ...  # one step, in phases
        turn.end(phases)

with phases {name: (CPU-seconds, wall seconds)}; a phase named "apart" + anything is not part of the step. Imports of
jax or torch belong inside the side: the process is pinned before them.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QUIET = 0.9  # a pinned step that had less of its core than this met a busy machine
ONE_THREAD = {"NPROC": "1", "OMP_NUM_THREADS": "1"}
PINNED = 1.05  # CPU / wall of one thread, with room for the clock's grain


def now() -> tuple[float, float]:
    """CPU-seconds of this process, and wall seconds from some moment on."""
    return time.process_time(), time.perf_counter()


class Clock:
    """Adds up process-CPU and wall seconds by phase. now: what it reads, as `now`, which waits for no device."""

    def __init__(self, now: Callable[[], tuple[float, float]] = now):
        self.phases: dict[str, tuple[float, float]] = {}
        self.now = now

    @contextmanager
    def __call__(self, name: str):
        began = self.now()
        yield
        self.add(name, *self.since(began))

    def since(self, began: tuple[float, float]) -> tuple[float, float]:
        return tuple(a - b for a, b in zip(self.now(), began, strict=True))

    def total(self) -> tuple[float, float]:
        return tuple(sum(phase[k] for phase in self.phases.values()) for k in (0, 1))

    def add(self, name: str, cpu: float, wall: float) -> None:
        before = self.phases.get(name, (0.0, 0.0))
        self.phases[name] = (before[0] + cpu, before[1] + wall)


class Turn:
    """The side's end of the line to the parent."""

    def __init__(self, line):
        self.line, self.imports = line, 0

    def imported(self) -> None:
        """What the process holds now, interpreter and libraries, is reported apart."""
        self.imports = memory()

    def ready(self, **info: Any) -> None:
        self.line.send(("ready", {**info, "memory_imports": self.imports}))

    def begin(self) -> bool:
        """Waits for the parent; False when no further step is wanted."""
        return self.line.recv() == "step"

    def end(self, phases: Mapping[str, tuple[float, float]]) -> None:
        self.line.send(("step", dict(phases)))


def memory() -> int:
    """Peak resident bytes of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage starts with the peak of the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def usable_cores() -> list[int]:
    """The cores this process may run on, in order; all that there are where the system cannot tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(core: int) -> dict[str, str]:
    """Gives this process one of `usable_cores`; returns the environment that keeps the libraries' pools to one thread,
    too. Before jax or torch is imported.
    """
    os.sched_setaffinity(0, {core})
    return dict(ONE_THREAD)


def _child(side: Callable, options: Any, line, threads: int, core: int) -> None:
    try:
        if threads == 1:
            os.environ |= pin(core)
        side(options, Turn(line))
        line.send(("done", {"memory": memory()}))
    except BaseException:
        line.send(("failed", traceback.format_exc()))


def _receive(name: str, line) -> Any:
    try:
        kind, value = line.recv()
    except EOFError:
        raise RuntimeError(f"{name}: its process ended without a word (out of memory?)") from None
    if kind == "failed":
        raise RuntimeError(f"{name} failed:\n{value}")
    return value


def take_turns(
    sides: Mapping[str, Callable],
    options: Any,
    steps: int,
    threads: int,
    warm_up: int = 1,
    core: int = 0,
    agree: Callable[[Mapping[str, dict]], Any] | None = None,
    aside: Collection[str] = (),
) -> dict[str, dict]:
    """Runs `warm_up` + `steps` steps of every side in turn; the report of each.

    threads: 1 pins every side to `core` (NPROC=1 OMP_NUM_THREADS=1 and the affinity of taskset); 0 takes all cores.
    A pinned step that got less than 90 % of its core is measured again, as often as there are steps; what remains
    busy is counted in report["busy_steps"], what was replaced in report["left_out"].
    agree: called once, with what every side told when it was ready and before the first step; raises SystemExit for
    sides that disagree. aside: sides whose busy steps are no reason to measure again.
    """
    if threads not in (0, 1):
        raise ValueError(f"--threads={threads}: 1 pins to one core, 0 takes all cores")
    spawn = multiprocessing.get_context("spawn")
    lines, children, infos = {}, {}, {}
    try:
        for name, side in sides.items():
            lines[name], end = spawn.Pipe()
            children[name] = spawn.Process(target=_child, args=(side, options, end, threads, core), daemon=True)
            children[name].start()
            end.close()
            infos[name] = _receive(name, lines[name])  # one after the other: set-up must not disturb set-up
        if agree:
            agree(infos)
        records = _rounds(lines, steps, threads, warm_up, aside)
        for name, line in lines.items():
            line.send("stop")
            infos[name] |= _receive(name, line)
    finally:
        for child in children.values():
            child.terminate()
            child.join()
    return {name: _report(records[name][warm_up:], infos[name], steps, threads) for name in sides}


def _rounds(lines: Mapping, steps: int, threads: int, warm_up: int, aside: Collection[str]) -> dict[str, list]:
    """The records of every side's steps, until `steps` rounds were quiet or twice as many are over."""
    records: dict[str, list] = {name: [] for name in lines}
    quiet = 0
    for turn in range(warm_up + 2 * steps):
        for name, line in lines.items():
            line.send("step")
            records[name].append(_receive(name, line))
        busy = threads == 1 and any(_share(r[-1]) < QUIET for name, r in records.items() if name not in aside)
        quiet += turn >= warm_up and not busy
        if quiet == steps:
            break
    return records


def _total(record: Mapping[str, tuple[float, float]], which: int) -> float:
    return sum(value[which] for name, value in record.items() if not name.startswith("apart"))


def _share(record) -> float:
    return _total(record, 0) / _total(record, 1)


def _report(records: list[dict], info: dict, steps: int, threads: int) -> dict:
    quiet = [r for r in records if threads != 1 or _share(r) >= QUIET]
    used = quiet if len(quiet) >= steps else records
    share = statistics.median(_share(r) for r in used)
    if threads == 1 and share > PINNED:
        raise RuntimeError(f"CPU / wall is {share:.2f} on one core: the side is not pinned, its figures mean nothing")
    totals = [_total(r, 0) for r in used]
    median = lambda name, which: statistics.median(r[name][which] for r in used)  # noqa: E731
    extreme = lambda name, which: which(r[name][0] for r in used)  # noqa: E731
    phases = {
        name: {
            "cpu_s": median(name, 0), "wall_s": median(name, 1),
            "cpu_s_min": extreme(name, min), "cpu_s_max": extreme(name, max),
        }
        for name in used[0]
    }  # fmt: skip
    return {
        "cpu_s": statistics.median(totals),
        "wall_s": statistics.median(_total(r, 1) for r in used),
        "cpu_s_min": min(totals),
        "cpu_s_max": max(totals),
        "steps": len(used),
        "cpu_over_wall": share,
        "busy_steps": len(used) - len(quiet),
        "left_out": len(records) - len(used),
        "phases": phases,
        **info,
    }
