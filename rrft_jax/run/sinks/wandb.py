"""Weights & Biases: `WANDB_MODE=offline` writes below the workdir alone; else `wandb login` comes first."""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rrft_jax.run.sinks.tracking import PROJECT, Sent, public, unsent


class WandB:
    """One W&B run for a workdir, resumed with it; project WANDB_PROJECT, by default rrft_jax.

    The console, which may show anything, and the source code are not sent.
    """

    PACKAGE = "wandb"

    def __init__(self, workdir: Path, config: Mapping[str, Any]):
        self._wandb = importlib.import_module(self.PACKAGE)
        self._sent = Sent(workdir, "wandb")
        if self._sent.id is None:
            self._sent.keep(os.urandom(4).hex())
        quiet = self._wandb.Settings(console="off", save_code=False, silent=True)
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=workdir.name, id=self._sent.id, resume="allow",
            dir=str(workdir), config=public(config), settings=quiet,
        )  # fmt: skip

    def write(self, step: int, scalars: Mapping[str, float], tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        if values := unsent(self._sent, self._wandb, step, scalars, tables):
            self._run.log(values, step=step)

    def cut_back(self, step: int) -> None:
        """Nothing: see `tracking`."""

    def flush(self) -> None:
        """Nothing: a process of its own has what was logged."""

    def close(self) -> None:
        self._run.finish()
