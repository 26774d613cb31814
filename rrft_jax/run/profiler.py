"""A trace of a few steps, for Perfetto (ui.perfetto.dev) or XProf."""

from pathlib import Path
from typing import Any

import jax
from absl import logging

FOLDER = "profile"


def parse_steps(text: str) -> range:
    """ "10,12" -> steps 10 to 12, both traced; "10" one step; "" none. Steps count from 1, as in the metrics."""
    if not text:
        return range(0)
    parts = text.split(",")
    if len(parts) > 2 or not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"--profile_steps={text}: give the first and the last step to trace, such as 10,12")
    first, last = int(parts[0]), int(parts[-1])
    if not 1 <= first <= last:
        raise ValueError(f"--profile_steps={text}: the first step must be at least 1 and not after the last")
    return range(first, last + 1)


class Profiler:
    """Traces the steps in `steps` into <workdir>/profile; each process its own devices."""

    def __init__(self, workdir: Path, steps: range):
        self._folder, self._steps, self._running = workdir / FOLDER, steps, False

    def before(self, step: int) -> None:
        """Call before `step` begins. A resumed run that starts inside the range traces what is left of it."""
        if step in self._steps and not self._running:
            jax.profiler.start_trace(str(self._folder), create_perfetto_trace=True)
            self._running = True

    def after(self, step: int) -> None:
        if self._running and step >= self._steps[-1]:
            self.close()
            logging.info("steps %d to %d are traced in %s", self._steps[0], step, self._folder)

    def close(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
