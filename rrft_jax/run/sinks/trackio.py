"""trackio: a local database, unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL name a place; `trackio show` draws it."""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rrft_jax.run.sinks.tracking import PROJECT, Sent, public, unsent


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
        if values := unsent(self._sent, self._trackio, step, scalars, tables):
            self._run.log(values, step=step)

    def cut_back(self, step: int) -> None:
        """Nothing: see `tracking`."""

    def flush(self) -> None:
        """Nothing: trackio writes by itself."""

    def close(self) -> None:
        self._run.finish()
