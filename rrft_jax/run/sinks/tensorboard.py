"""TensorBoard events: a rendering of metrics.jsonl, made again from it when a run resumes, so no step appears twice."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from rrft_jax.run.metrics import RESERVED, read_metrics

EVENTS = "tensorboard"


class TensorBoard:
    """Scalars in workdir/tensorboard; a value that is not finite gets no point."""

    def __init__(self, workdir: Path, config: Mapping[str, Any]):
        del config
        self._workdir = workdir
        self._events: SummaryWriter | None = None

    def write(self, step: int, scalars: Mapping[str, float], tables: Mapping[str, Sequence]) -> None:
        del tables
        self._add(step, scalars, None)

    def cut_back(self, step: int) -> None:
        self.close()
        for old in (self._workdir / EVENTS).glob("events.out.tfevents.*"):
            old.unlink()
        for record in read_metrics(self._workdir):
            if record["step"] <= step:
                values = {name: value for name, value in record.items() if name not in RESERVED}
                self._add(record["step"], values, record["time"])

    def flush(self) -> None:
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        if self._events is not None:
            self._events.close()
        self._events = None

    def _add(self, step: int, scalars: Mapping[str, float], at: float | None) -> None:
        if self._events is None:
            self._events = SummaryWriter(logdir=str(self._workdir / EVENTS), flush_secs=30)
        for name, value in scalars.items():
            if math.isfinite(value):
                self._events.add_scalar(name, value, step, walltime=at)
