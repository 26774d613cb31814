"""MLflow: the server that MLFLOW_TRACKING_URI names, by default files in workdir/mlruns (`mlflow ui` draws them)."""

import importlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rrft_jax.data.decoding import open_image
from rrft_jax.run.sinks.tracking import PROJECT, Sent, finite, public

LONGEST = 6000  # characters of a parameter


class MLflow:
    """One MLflow run for a workdir, resumed with it; experiment MLFLOW_EXPERIMENT_NAME, by default rrft_jax.

    A table is an artifact <name>/step_<step>.json with its pictures next to it. pip install mlflow, or mlflow-skinny,
    which needs a server or files.
    """

    PACKAGE = "mlflow"

    def __init__(self, workdir: Path, config: Mapping[str, Any]):
        entities, tracking = map(importlib.import_module, ("mlflow.entities", "mlflow.tracking"))
        self._metric, self._sent = entities.Metric, Sent(workdir, "mlflow")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            uri = (workdir / "mlruns").absolute().as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self._client = tracking.MlflowClient(uri)
        if self._sent.id is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self._client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self._client.create_experiment(name)
            self._sent.keep(self._client.create_run(experiment, run_name=workdir.name).info.run_id)
            params = [entities.Param(field, str(value)[:LONGEST]) for field, value in public(config).items()]
            for k in range(0, len(params), 100):  # as many as one request takes
                self._client.log_batch(self._sent.id, params=params[k : k + 100])

    def write(self, step: int, scalars: Mapping[str, float], tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        if scalars and self._sent.new(step, "scalars"):
            now = int(1000 * time.time())
            metrics = [self._metric(name, value, now, step) for name, value in finite(scalars).items()]
            for k in range(0, len(metrics), 1000):
                self._client.log_batch(self._sent.id, metrics=metrics[k : k + 1000])
        for name, rows in tables.items():
            if rows and self._sent.new(step, name):
                self._write_table(f"{name}/step_{step:06d}", rows)

    def _write_table(self, place: str, rows: Sequence[Mapping[str, Any]]) -> None:
        files: dict[int, str] = {}
        for image in (image for row in rows for image in row.get("images", ())):
            if id(image) not in files:
                files[id(image)] = f"{place}/{len(files)}.png"
                self._client.log_image(self._sent.id, open_image(image), files[id(image)])
        shown = [{**row, "images": [files[id(image)] for image in row.get("images", ())]} for row in rows]
        self._client.log_dict(self._sent.id, {"rows": shown}, f"{place}.json")

    def cut_back(self, step: int) -> None:
        """Nothing: see `tracking`."""

    def flush(self) -> None:
        """Nothing: each call waits for the server."""

    def close(self) -> None:
        self._client.set_terminated(self._sent.id)
