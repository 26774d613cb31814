"""What the sinks of experiment trackers share.

A tracker takes no step back. A resumed run computes the steps after its checkpoint again, to the same bits, so a sink
sends only what was not sent: it keeps its run's id and the last steps in the workdir, in a file of its own.
"""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rrft_jax.data.decoding import open_image
from rrft_jax.run.workdir import flatten

PROJECT = "rrft_jax"
_SECRET = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
_IN_URL = re.compile(r"(\w+://)[^/\s@]*@")


def public(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config, dotted field -> plain value, without fields that are named like secrets, and passwords in URLs."""
    found = {}
    for name, value in flatten(config).items():
        if not _SECRET.search(name.rpartition(".")[2]) or isinstance(value, int | float):
            text = value if isinstance(value, int | float | str) or value is None else json.dumps(value, default=str)
            found[name] = _IN_URL.sub(r"\1", text) if isinstance(text, str) else text
    return found


def finite(scalars: Mapping[str, float]) -> dict[str, float]:
    """Trackers draw no point for a value that is not finite, or refuse it."""
    return {name: float(value) for name, value in scalars.items() if math.isfinite(value)}


def table(rows: Sequence[Mapping[str, Any]], picture: Any) -> tuple[list[str], list[list[Any]]]:
    """Columns and cells of rows, the `images` of a row in columns image_0, image_1, ...; picture: makes a cell of a PIL
    image, once for rows that have the same."""
    most = max((len(row.get("images", ())) for row in rows), default=0)
    names = list(dict.fromkeys(name for row in rows for name in row if name != "images"))
    made: dict[int, Any] = {}
    cells = []
    for row in rows:
        images = list(row.get("images", ()))
        for image in images:
            if id(image) not in made:
                made[id(image)] = picture(open_image(image))
        shown = [made[id(image)] for image in images]
        cells.append([*shown, *[None] * (most - len(shown)), *(row.get(name) for name in names)])
    return [*(f"image_{k}" for k in range(most)), *names], cells


class Sent:
    """The id of a tracker's run and the last steps that were sent, in workdir/.<tracker>.json.

    id: None until set. Written at each step, without waiting for the disk: a killed process loses nothing of it.
    """

    def __init__(self, workdir: Path, tracker: str):
        self._file = workdir / f".{tracker}.json"
        try:
            stored = json.loads(self._file.read_text())
        except (OSError, ValueError):
            stored = {}
        self._id: str | None = stored.get("id")
        self._last: dict[str, int] = stored.get("last", {})

    @property
    def id(self) -> str | None:
        return self._id

    def keep(self, run_id: str) -> None:
        self._id = run_id
        self._write()

    def new(self, step: int, kind: str) -> bool:
        """Whether this step of scalars, or of a table, was not sent yet; from here on it counts as sent."""
        if step <= self._last.get(kind, -1):
            return False
        self._last[kind] = step
        self._write()
        return True

    def _write(self) -> None:
        temporary = self._file.with_name(f"{self._file.name}.tmp-{os.getpid()}")
        temporary.write_text(json.dumps({"id": self._id, "last": self._last}))
        os.replace(temporary, self._file)


def unsent(
    sent: Sent, package: Any, step: int, scalars: Mapping[str, float], tables: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """What a tracker whose package has `Table` and `Image`, as that of Weights & Biases does, logs at this step."""
    values: dict[str, Any] = dict(finite(scalars)) if scalars and sent.new(step, "scalars") else {}
    for name, rows in tables.items():
        if rows and sent.new(step, name):
            columns, cells = table(rows, package.Image)
            values[name] = package.Table(columns=columns, data=cells)
    return values
