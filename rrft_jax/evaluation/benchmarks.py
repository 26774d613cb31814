"""The benchmark columns of the tasks, each with its published file, its generated twin, or both."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from rrft_jax.doors import DoorError, is_reference
from rrft_jax.tasks.registry import get_task, tasks
from rrft_jax.tasks.task import Column, Task


@dataclass(frozen=True)
class Benchmark:
    """A column with the task that it is of."""

    task: Task
    column: Column

    @property
    def name(self) -> str:
        return self.column.name


def benchmarks() -> tuple[Benchmark, ...]:
    """Those of the package's own tasks, in their order."""
    return tuple(Benchmark(task, column) for task in tasks().values() for column in task.benchmarks)


def choose_benchmarks(name: str) -> Sequence[Benchmark]:
    """The benchmark of that name, those of a task (a name, an alias or a reference), or "all": those of the paper.

    ValueError lists the near names.
    """
    known = benchmarks()
    if name == "all":
        return tuple(b for b in known if b.column.file)
    chosen = [b for b in known if name in (b.name, b.task.name, b.task.alias)]
    if chosen:
        return chosen
    names = ["all", *dict.fromkeys(b.task.name for b in known), *(b.name for b in known)]
    try:
        task = get_task(name, "--benchmark")
    except DoorError:
        if is_reference(name):
            raise
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
        raise ValueError(f"--benchmark={name!r} is no benchmark; did you mean {', '.join(near)}?") from None
    if not task.benchmarks:
        raise ValueError(f"--benchmark={name}: task {task.name} has no columns; name some in Task(benchmarks=...)")
    return [Benchmark(task, column) for column in task.benchmarks]
