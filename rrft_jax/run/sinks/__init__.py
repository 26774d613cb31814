"""Where a run's numbers go besides metrics.jsonl: `config.log.sinks`, registered names, dotted paths or files.

    config.log.sinks = ("tensorboard", "my_sink.py:SINK")

A sink is made by SINK(workdir, config), config as plain values, and has four methods; `Sink` says what they get. It
writes in process 0 alone. metrics.jsonl stays the record: a sink that fails is warned about once and left out, and the
run continues without it.
"""

import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rrft_jax.doors import resolve, user_frame

GROUP = "rrft_jax.sinks"
SINKS = {  # name -> where it is, loaded when asked for
    "tensorboard": "rrft_jax.run.sinks.tensorboard:TensorBoard",
    "wandb": "rrft_jax.run.sinks.wandb:WandB",
    "trackio": "rrft_jax.run.sinks.trackio:Trackio",
    "mlflow": "rrft_jax.run.sinks.mlflow:MLflow",
}
_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes the numbers of a run."""

    def write(self, step: int, scalars: Mapping[str, float], tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """scalars: metrics by name, NaN and infinities included. tables: rows by name, such as "completions"; a step
        may come twice, once with each."""
        ...

    def cut_back(self, step: int) -> None:
        """Removes what was written after `step` (-1: everything); called once, before the first `write`."""
        ...

    def flush(self) -> None:
        """Waits until all that was written is safe."""
        ...

    def close(self) -> None: ...


class Sinks:
    """Several sinks as one, of which one that fails costs no other."""

    def __init__(self, names: Sequence[str], workdir: Path, config: Mapping[str, Any]):
        """Raises ValueError where a name leads to no sink or one cannot be made."""
        self._sinks: dict[str, Sink] = {}
        for name in names:
            make = _find(name)
            try:
                self._sinks[name] = make(workdir, config)
            except Exception as error:  # anyone's code
                at = f" ({where})" if (where := user_frame(error)) else ""
                raise ValueError(
                    f"config.log.sinks: {name} cannot be made: {type(error).__name__}: {error}{at}"
                ) from error

    def write(self, step: int, scalars: Mapping[str, float], tables: Mapping[str, Sequence] | None = None) -> None:
        self._each("write", step, scalars, tables or {})

    def cut_back(self, step: int) -> None:
        self._each("cut_back", step)

    def flush(self) -> None:
        self._each("flush")

    def close(self) -> None:
        self._each("close")

    def _each(self, method: str, *arguments: Any) -> None:
        for name, sink in list(self._sinks.items()):
            try:
                getattr(sink, method)(*arguments)
            except Exception as error:  # a tracker that is down must not end a training
                at = user_frame(error)
                _log.warning(
                    "config.log.sinks: %s failed in %s and is left out from here on: %s: %s%s; metrics.jsonl has "
                    "everything", name, method, type(error).__name__, error, f" ({at})" if at else "",
                )  # fmt: skip
                del self._sinks[name]


def check_sinks(names: Sequence[str]) -> None:
    """Raises ValueError for a name that leads to no sink, or to one whose PACKAGE is not installed."""
    for name in names:
        package = getattr(_find(name), "PACKAGE", None)
        if package and importlib.util.find_spec(package) is None:
            raise ValueError(f"config.log.sinks={name}: the package {package} is not installed: pip install {package}")


def _find(name: str) -> Callable[[Path, Mapping[str, Any]], Sink]:
    field = "config.log.sinks"
    found = resolve(SINKS.get(name, name), {name: None for name in SINKS}, "sink", field, GROUP)
    if not callable(found):
        raise ValueError(f"{field}={name} is a {type(found).__name__}; a sink is made by a class or a function")
    return found
