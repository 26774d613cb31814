"""TensorBoard events: a rendering of metrics.jsonl, made again from it when a run resumes, so no step appears twice."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event  # ty: ignore[missing-module-member]  (made at run time)
from tensorboardX.summary import scalar

from rrft_jax.run.metrics import RESERVED, read_metrics

EVENTS = "tensorboard"
SHOWN_S = 30.0  # seconds after which a running TensorBoard sees what was written


class TensorBoard:
    """Scalars in workdir/tensorboard; a value that is not finite gets no point.

    The file is written here, by no thread: that of SummaryWriter prints its own traceback where a disk is full.
    """

    def __init__(self, workdir: Path, config: Mapping[str, Any]):
        del config
        self._workdir = workdir
        self._events: EventsWriter | None = None
        self._flushed = 0.0

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
            self._flushed = time.monotonic()

    def close(self) -> None:
        events, self._events = self._events, None
        if events is not None:
            events.close()

    def _add(self, step: int, scalars: Mapping[str, float], at: float | None) -> None:
        if self._events is None:
            (self._workdir / EVENTS).mkdir(parents=True, exist_ok=True)
            self._events = EventsWriter(str(self._workdir / EVENTS / "events"))
        for name, value in scalars.items():
            if math.isfinite(value):
                self._events.write_event(Event(wall_time=at or time.time(), step=step, summary=scalar(name, value)))
        if time.monotonic() - self._flushed > SHOWN_S:
            self.flush()
