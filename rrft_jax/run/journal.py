"""What a run records: metrics, completions, progress. Process 0 alone writes; in the others a Journal takes the same
calls and writes nothing."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rrft_jax.parallel.processes import is_writer
from rrft_jax.run.completions import CompletionsWriter, Group, rows_of
from rrft_jax.run.metrics import MetricsWriter, from_json, to_json
from rrft_jax.run.progress import Progress
from rrft_jax.run.sinks import Sinks


class Journal:
    """The writers of one run directory."""

    def __init__(self, workdir: Path, sinks: Sequence[str] = (), config: Mapping[str, Any] | None = None):
        """sinks, config: as config.log.sinks, and the whole config as plain values. Raises ValueError."""
        self._metrics = MetricsWriter(workdir) if is_writer() else None
        self._sinks = Sinks(sinks if is_writer() else (), workdir, config or {})
        self._completions = CompletionsWriter(workdir) if is_writer() else None
        self._progress: Progress | None = None

    def cut_back(self, step: int, unevaluated: bool = False) -> None:
        """Removes what was written after `step` (-1: everything), and the metrics of an unevaluated step too."""
        if self._metrics is not None and self._completions is not None:
            self._metrics.cut_back(step - unevaluated)
            self._sinks.cut_back(step - unevaluated)
            self._completions.cut_back(step)

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.write(step, metrics)
            self._sinks.write(step, from_json(to_json(metrics)))

    def write_completions(self, step: int, groups: Sequence[Group]) -> None:
        if self._completions is not None and groups:
            self._completions.write(step, groups)
            self._sinks.write(step, {}, {"completions": [row for group in groups for row in rows_of(group)]})

    @contextmanager
    def progress(self, total: int, start: int, every: int, shown: Sequence[tuple[str, str, str]]) -> Generator[None]:
        """Within this context `update` and `note` are shown."""
        if self._metrics is None:
            yield
            return
        with Progress(total, start, every, shown) as self._progress:
            yield
        self._progress = None

    @contextmanager
    def busy(self, what: str) -> Generator[None]:
        """Within this context `what` is shown with the time it takes."""
        if self._progress is None:
            yield
            return
        with self._progress.busy(what):
            yield

    def update(self, step: int, metrics: Mapping[str, Any]) -> None:
        if self._progress is not None:
            self._progress.update(step, metrics)

    def note(self, text: str) -> None:
        if self._progress is not None:
            self._progress.note(text)

    def flush(self) -> None:
        """Waits until all that was written is on the disk."""
        if self._metrics is not None:
            self._metrics.flush()
            self._sinks.flush()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: Any) -> None:
        if self._metrics is not None:
            self._metrics.close()
            self._sinks.close()
