"""trackio: a local database, unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL name a place; `trackio show` draws it."""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rrft_jax.run.sinks.tracking import PROJECT, Sent, finite, public, table


class Trackio:
    """One trackio run for a workdir, resumed with it; project TRACKIO_PROJECT, by default rrft_jax."""

    PACKAGE = "trackio"

    def __init__(self, workdir: Path, config: Mapping[str, Any]):
        self._trackio = importlib.import_module(self.PACKAGE)
        self._sent = Sent(workdir, "trackio")
        if self._sent.id is None:
            self._sent.keep(f"{workdir.name}-{os.urandom(3).hex()}")
        self._run = self._trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT), name=self._sent.id, resume="allow",
            config=public(config), embed=False,
        )  # fmt: skip

    def write(self, step: int, scalars: Mapping[str, float], tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        values: dict[str, Any] = dict(finite(scalars)) if scalars and self._sent.new(step, "scalars") else {}
        for name, rows in tables.items():
            if rows and self._sent.new(step, name):
                columns, cells = table(rows, self._trackio.Image)
                values[name] = self._trackio.Table(columns=columns, data=cells)
        if values:
            self._run.log(values, step=step)

    def cut_back(self, step: int) -> None:
        """Nothing: see `tracking`."""

    def flush(self) -> None:
        """Nothing: trackio writes by itself."""

    def close(self) -> None:
        self._run.finish()
