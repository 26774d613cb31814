"""Numbers of a run, one JSON object a step: `metrics.jsonl` is the record, from which others render theirs.

A value that is not finite is stored as null, because NaN is not JSON, and its kind is kept in the same object:
{"step": 7, "time": 1700000000.0, "loss": null, "nonfinite": {"loss": "nan"}}.
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from rrft_jax.files import parse_json, shown, write_atomic

FILE = "metrics.jsonl"
RESERVED = ("step", "time", "nonfinite")


class MetricsWriter:
    """Appends to the metrics of a run directory.

    Each object reaches the operating system at once, so a killed process loses none; `flush` also waits for the disk
    and belongs before a checkpoint.
    """

    def __init__(self, workdir: str | Path):
        self._file = Path(workdir) / FILE
        self._handle: IO[bytes] | None = None
        self._last: int | None = None

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Records one step. Steps must increase; values are numbers or arrays of one number."""
        handle = self._handle or self._open(None)[0]
        if self._last is not None and step <= self._last:
            raise ValueError(
                f"{self._file} already holds step {self._last}, so step {step} cannot follow. "
                "Call cut_back(checkpoint step) when resuming, and write once a step."
            )
        record = make_record(step, metrics, time.time())
        size = handle.tell()
        try:
            handle.write((json.dumps(record, allow_nan=False) + "\n").encode())
            handle.flush()
        except OSError as error:  # a full disk, whose error names no file
            self._handle = None
            with suppress(OSError):  # closing tries to write the rest again
                handle.close()
            os.truncate(self._file, size)
            raise type(error)(error.errno, error.strerror, str(self._file)) from None
        self._last = step

    def cut_back(self, step: int) -> int:
        """Removes everything after `step` (-1: everything) from the file; returns how many steps."""
        return self._open(step)[1]

    def flush(self) -> None:
        """Waits until all that was written is on the disk."""
        if self._handle is not None:
            os.fsync(self._handle.fileno())

    def close(self) -> None:
        self.flush()
        if self._handle is not None:
            self._handle.close()
        self._handle = None

    def _open(self, step: int | None) -> tuple[IO[bytes], int]:
        """The file at its end, and how many steps after `step` were removed."""
        self.close()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        records, whole = _read(self._file)
        kept = records if step is None else [r for r in records if r["step"] <= step]
        if len(kept) < len(records) or not whole:
            write_atomic(self._file, "".join(json.dumps(r) + "\n" for r in kept).encode())
        self._handle = handle = open(self._file, "ab")  # noqa: SIM115, closed by close()
        self._last = kept[-1]["step"] if kept else None
        return handle, len(records) - len(kept)


def make_record(step: int, metrics: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The JSON object of one step; `now` in unix seconds."""
    record: dict[str, Any] = {"step": int(step), "time": round(now, 3)}
    nonfinite: dict[str, str] = {}
    for name, value in metrics.items():
        if name in RESERVED:
            raise ValueError(f"the metric name {name!r} is taken by the writer; rename it.")
        number = _number(name, value)
        if not math.isfinite(number):
            nonfinite[name] = str(number)  # nan, inf or -inf, which float() reads back
        record[name] = number if math.isfinite(number) else None
    return {**record, "nonfinite": nonfinite} if nonfinite else record


def read_metrics(workdir: str | Path) -> Iterator[dict[str, Any]]:
    """The objects of a run's metrics.jsonl with non-finite values restored; a half-written last line is left out."""
    for record in _read(Path(workdir) / FILE)[0]:
        yield _restored(record)


def to_json(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics of a step as JSON values, for a checkpoint; `from_json` gives them back."""
    return make_record(0, metrics, 0.0)


def from_json(record: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in _restored(dict(record)).items() if name not in RESERVED}


def _restored(record: dict[str, Any]) -> dict[str, Any]:
    for name, kind in record.pop("nonfinite", {}).items():
        record[name] = float(kind)
    return record


def _number(name: str, value: Any) -> int | float:
    item = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    if isinstance(item, bool) or not isinstance(item, (int, float)):
        if isinstance(item, bool):
            return int(item)
        raise TypeError(f"metric {name!r} must be one number, got {type(value).__name__} {value!r:.80}.")
    return item


def _read(file: Path) -> tuple[list[dict[str, Any]], bool]:
    """All whole objects, and whether the file ends with a whole line."""
    if not file.exists():
        return [], True
    lines = file.read_bytes().split(b"\n")
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines[:-1], 1):
        problem, record = "", {}
        try:
            record = parse_json(line)
        except ValueError as error:
            problem = str(error)
        if not problem and not _is_record(record):
            problem = f"{shown(record)} has no step, or values that are no numbers"
        if not problem and records and record["step"] <= records[-1]["step"]:
            problem = f"step {record['step']} comes after step {records[-1]['step']}"
        if problem:
            raise ValueError(f"{file} line {number} is not a metrics object ({problem}); remove that line.")
        records.append(record)
    return records, not lines[-1]


def _is_record(record: Any) -> bool:
    """Whether a value is what `make_record` makes: a step, numbers, and which of them are not finite."""
    if not isinstance(record, dict) or type(record.get("step")) is not int or not 0 <= record["step"] < 2**53:
        return False
    kinds = record.get("nonfinite", {})
    if not isinstance(kinds, dict) or not all(kind in ("nan", "inf", "-inf") for kind in kinds.values()):
        return False
    values = [value for name, value in record.items() if name != "nonfinite" and value is not None]
    return all(type(value) in (int, float) and abs(value) <= sys.float_info.max for value in values)
