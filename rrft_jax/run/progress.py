"""Progress of a run for people: a bar on a terminal, plain lines in a log, a table at the end."""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from tqdm import tqdm

Shown = tuple[str, str, str]  # label, metric, format; a metric that a step does not have is left out


def reward_columns(of_task: Sequence[Shown] = ()) -> tuple[Shown, ...]:
    """What the bar of a training with rewards shows. of_task: what its task adds."""
    speed = ("tok/s", "tokens_per_second", "{:,.0f}")
    return (("reward", "reward", "{:.3f}"), *of_task, ("kl", "kl", "{:.4f}"), speed)


class Progress:
    """Shows step/total, the metrics of `shown`, and the time left.

    On a terminal one bar that rewrites itself; elsewhere a line at the first, the last and every `every`-th step.
    """

    def __init__(
        self,
        total: int,
        start: int = 0,
        every: int = 10,
        shown: Sequence[Shown] = reward_columns(),
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._start, self._every, self._shown = total, start, max(1, every), shown
        self._stream = stream or sys.stderr
        self._clock = clock
        # Durations count from the end of the first step, which contains the compilation.
        self._times: deque[tuple[float, int]] = deque(maxlen=50)
        self._bar = None
        if _columns(self._stream):
            layout = "{n_fmt}/{total_fmt} |{bar}| {desc}"
            options = {"bar_format": layout, "dynamic_ncols": True, "mininterval": 0, "miniters": 1}
            self._bar = tqdm(total=total, initial=start, file=self._stream, **options)

    def update(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Reports that `step` steps are done."""
        self._times.append((self._clock(), step))
        text = self._text(step, metrics)
        if self._bar is not None:
            self._bar.set_description_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
        elif step in (self._start + 1, self._total) or step % self._every == 0:
            self._stream.write(f"step {step}/{self._total}  {text}\n")
            self._stream.flush()

    def note(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()

    @contextmanager
    def busy(self, what: str, every: float = 30.0) -> Generator[None]:
        """Within this context `what` is shown with the time it takes: each second on a terminal, else a line at the
        start and one every `every` seconds."""
        begun, done = self._clock(), threading.Event()

        def show() -> None:
            while not done.wait(1.0 if self._bar is not None else every):
                text = f"{what}: {duration(self._clock() - begun)} so far"
                if self._bar is not None:
                    self._bar.set_description_str(text, refresh=True)
                else:
                    self.note(text)

        self.note(what) if self._bar is None else self._bar.set_description_str(what, refresh=True)
        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            if self._bar is not None:
                self._bar.set_description_str("", refresh=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def eta_seconds(self) -> float | None:
        """Expected seconds to the end, None before the second step is done."""
        if len(self._times) < 2:
            return None
        (t0, n0), (t1, n1) = self._times[0], self._times[-1]
        return (self._total - n1) * (t1 - t0) / (n1 - n0) if n1 > n0 else None

    def _text(self, step: int, metrics: Mapping[str, Any]) -> str:
        parts = [
            f"{label} {form.format(float(metrics[name]))}"
            for label, name, form in self._shown
            if metrics.get(name) is not None
        ]
        eta = self.eta_seconds()
        return "  ".join([*parts, f"eta {'?' if eta is None else duration(eta)}"])


def _columns(stream: TextIO) -> int:
    """Width of the terminal behind a stream; 0 for a file, a pipe, or a terminal that does not know its width."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return 0


def duration(seconds: float) -> str:
    """0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass(frozen=True)
class Row:
    """One line of a before / after table. share: the values lie in [0, 1] and are shown in percent."""

    name: str
    before: float | None
    after: float | None
    share: bool = True


def before_after_table(rows: Sequence[Row], columns: tuple[str, str, str] = ("before", "after", "change")) -> str:
    """A table of plain text. Shares in percent, their change in percentage points; None is shown as a dash."""
    cells = [("", *columns)]
    for row in rows:
        change = None if row.before is None or row.after is None else row.after - row.before
        cells.append((row.name, _value(row.before, row), _value(row.after, row), _value(change, row, sign=True)))
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    lines = ["  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
             for line in cells]  # fmt: skip
    rule = "-" * len(lines[0])
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def _value(value: float | None, row: Row, sign: bool = False) -> str:
    if value is None:
        return "-"
    plus = "+" if sign else ""
    if row.share:
        return f"{100 * value:{plus}.1f} {'pp' if sign else '%'}".ljust(3)
    return f"{value:{plus}.2f}"
