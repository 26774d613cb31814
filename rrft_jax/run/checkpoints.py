"""Checkpoints of a run: the last ones and the best, each with its device state and its host state.

A checkpoint is an Orbax step directory with the items `state` (arrays), `host` (JSON), `checksums` (JSON, of every
array and of the host state; older checkpoints have none) and, where one was given, `metrics`. It is written under a
temporary name and renamed when whole, so the newest directory with a plain number is always complete, whenever the
process is killed. Deleting renames first, for the same reason.

The state is stored as a flat mapping from "params/decoder/kernel"-like paths to arrays: the containers of the pytree
(optax tuples, frozen dataclasses) belong to the program, not to the file.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from rrft_jax.fields import section_of, text
from rrft_jax.files import read_json_object, shown, write_atomic
from rrft_jax.parallel.processes import run_on_all
from rrft_jax.run.checksums import array_form, checksums
from rrft_jax.run.room import NoRoomError, free_bytes, is_full, quiet_threads, wanted_room

TRASH, ABOUT = ".deleted", "_CHECKPOINT_METADATA"
METRIC = "eval/accuracy"  # the name under which a step's metric is stored
MAX_JSON = 2**28  # bytes; the host state may hold texts of completions in flight


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the message names the path and the remedy."""


@dataclass(frozen=True)
class _KeepLastAndBest:
    """Retention as Orbax asks for it: one bool per checkpoint, which come in order of steps."""

    last: int
    best: int

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        count = len(checkpoints)
        scored = sorted((_score(c.metrics), i) for i, c in enumerate(checkpoints) if c.metrics)
        kept = {i for _, i in scored[len(scored) - min(self.best, len(scored)) :]}
        return [i >= count - self.last or i in kept for i in range(count)]


def _score(metrics: Mapping[str, float]) -> float:
    return metrics.get(METRIC, -math.inf)


class Checkpoints:
    """The checkpoints below one directory.

    keep_last: how many of the newest stay. keep_best: how many with the highest metric (held-out accuracy) stay
    besides; a newer checkpoint never deletes them. Among equals the newest counts as best. A checkpoint saved without
    a metric is never best.
    read_only: look at the checkpoints of a run that may be writing in another process; nothing is cleaned.
    """

    def __init__(
        self,
        directory: str | Path,
        keep_last: int = 1,
        keep_best: int = 1,
        read_only: bool = False,
    ):
        if keep_last < 1 or keep_best < 0:
            raise ValueError(f"keep_last must be at least 1 and keep_best at least 0, got {keep_last} and {keep_best}.")
        self.directory = Path(directory).absolute()
        self._read_only = read_only
        self._retention = _KeepLastAndBest(keep_last, keep_best)
        if read_only and not self.directory.is_dir():
            raise CheckpointError(f"{self.directory} does not exist; give the checkpoint folder of a run.")
        self._empty_trash()
        self._remove_unfinished()
        if jax.process_count() > 1:  # the others look at the directory only when it is clean
            multihost_utils.sync_global_devices("checkpoints cleaned")
        # Asked inside: the first process past this line makes the folder, and a collective must not depend on that.
        run_on_all(lambda: self._check_json() if self.directory.is_dir() else None)
        try:
            self._manager = self._open()
        except Exception as error:  # of any kind, for fields of another type than Orbax writes
            raise CheckpointError(
                f"{self.directory} cannot be opened ({_first_cause(error)}): {ABOUT} of a step is damaged; delete the "
                "folder of that step"
            ) from error

    def _open(self) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=self._retention,
                best_fn=_score,  # without it Orbax stores no metrics
                todelete_subdir=None if self._read_only else TRASH,
                enable_async_checkpointing=False,
                read_only=self._read_only,
            ),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(), "host": ocp.JsonCheckpointHandler(),
                "checksums": ocp.JsonCheckpointHandler(),
            },
        )

    def save(self, step: int, state: Any, host: Mapping[str, Any], metric: float | None = None) -> bool:
        """Writes a checkpoint; False if this step is already there (then nothing is written).

        state: pytree of arrays, which the caller may donate afterwards.
        host: JSON values. metric: held-out accuracy at this step, None if it was not measured.
        """
        latest = self.latest_step()
        if latest is not None and step <= latest:
            if step in self.all_steps():
                return False
            raise CheckpointError(
                f"{self.directory} already holds step {latest}, so step {step} cannot be saved after it. "
                "Resume from the latest step, or use another directory."
            )
        try:
            host = json.loads(json.dumps(host, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"the host state of step {step} is not JSON: {error}.") from None
        # An empty mapping instead of None: Orbax warns about each checkpoint without metrics.
        metrics = {} if metric is None or not math.isfinite(metric) else {METRIC: float(metric)}
        flat = _with_content(flatten_state(state))
        sums = {"state": checksums(flat), "host": _digest(host)}
        items = {
            "state": ocp.args.StandardSave(flat), "host": ocp.args.JsonSave(host), "checksums": ocp.args.JsonSave(sums),
        }  # fmt: skip
        what, wanted = f"the checkpoint of step {step}", sum(leaf.nbytes for leaf in flat.values())
        wanted += wanted // 20 + 2**20  # Orbax's own files beside the arrays

        def check_room() -> None:
            if free_bytes(self.directory) < wanted:
                raise NoRoomError(wanted_room(what, wanted, self.directory))

        # Of the whole state, for all processes write to one disk; none begins, and takes of that room, before all
        # have looked.
        run_on_all(check_room)
        try:
            with quiet_threads():
                self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics, force=True)
        except Exception as error:  # of many kinds, as the storage libraries have them
            if not is_full(error):
                raise
            self._remove_unfinished()  # what was written takes room that the next attempt needs
            raise NoRoomError(wanted_room(what, wanted, self.directory)) from error
        self._empty_trash()
        return True

    def add_metric(self, step: int, metric: float) -> None:
        """Gives a step that was saved without a metric the held-out accuracy that was measured since, and removes the
        step that it replaces as best."""
        if not math.isfinite(metric):
            return
        if jax.process_index() == 0:
            # Orbax can only write a step anew, and a kill before that was done would leave no step at all.
            values = json.dumps({METRIC: float(metric)})
            write_atomic(self.directory / str(step) / "metrics" / "metrics", values.encode())
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("metric added")
        self._manager.reload()
        steps = self.all_steps()
        infos = [SimpleNamespace(metrics=self._manager.metrics(step)) for step in steps]
        for step, kept in zip(steps, self._retention.should_preserve(infos, context=None), strict=True):
            if not kept:
                self._manager.delete(step)
        self._empty_trash()

    def restore(self, target: Any = None, step: int | None = None) -> tuple[Any, dict, int]:
        """(state, host, step) of a step, by default the latest.

        target: pytree like the saved one, of arrays or `jax.ShapeDtypeStruct`s; where a leaf carries a sharding, the
        array is read into it. None gives nested dicts of numpy arrays, whatever devices wrote them.
        """
        step = self.latest_step() if step is None else step
        if step is None or step not in self.all_steps():
            raise CheckpointError(f"{self.directory} has no checkpoint{self._named(step)}; it has {self.all_steps()}.")
        path = self.directory / str(step)
        host, sums, stored = run_on_all(lambda: self._guard(path, lambda: self._read_json(step)))
        if target is None:
            wanted = {name: np.empty(shape, dtype) for name, (shape, dtype) in stored.items()}
            finish: Callable = unflatten_state
        else:
            wanted = {name: _abstract(leaf) for name, leaf in _with_content(flatten_state(target)).items()}
            problems = differences(stored, {name: (leaf.shape, leaf.dtype) for name, leaf in wanted.items()})
            if problems:
                raise CheckpointError(
                    f"the state stored in {path} is not the one this program has:\n  " + "\n  ".join(problems) + "\n"
                    "Use the config that wrote it (model size, optimizer, LoRA), or start a new run."
                )

            def finish(flat: Mapping[str, Any]) -> Any:
                return _rebuild(target, flat)

        items = ocp.args.Composite(state=ocp.args.StandardRestore(wanted))
        found = self._guard(path, lambda: self._manager.restore(step, args=items)).state
        if sums is not None:
            values = checksums(found)
            run_on_all(lambda: self._guard(path, lambda: _compare(sums, values)))
        return finish(found), host, step

    def all_steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def close(self) -> None:
        self._empty_trash()
        self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _read_json(self, step: int) -> tuple[dict, dict[str, str] | None, dict[str, tuple[tuple[int, ...], np.dtype]]]:
        """(host state, checksums of the arrays or None, shapes and types of the arrays) of a step."""
        path = self.directory / str(step)
        host = read_json_object(path / "host" / "metadata", limit=MAX_JSON)
        tree = self._manager.item_metadata(step).state.tree
        stored = {name: (tuple(leaf.shape), np.dtype(leaf.dtype)) for name, leaf in tree.items()}
        if not (path / "checksums").is_dir():
            return host, None, stored
        file = path / "checksums" / "metadata"
        sums = read_json_object(file, limit=MAX_JSON)
        arrays = section_of(sums, file, "state")
        _compare({"the host state": text(sums, file, "host")}, {"the host state": _digest(host)})
        forms = {name: text(arrays, file, name).rpartition(" ")[0] for name in arrays}
        _compare(forms, {name: array_form(*leaf) for name, leaf in stored.items()})
        return host, arrays, stored

    def _guard(self, path: Path, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Exception as error:  # whatever the storage libraries raise for a damaged file
            others = [step for step in self.all_steps() if str(step) != path.name]
            remedy = f"the run then resumes from step {others[-1]}" if others else "the run then starts anew"
            raise CheckpointError(
                f"the checkpoint {path} is damaged ({_first_cause(error)}). Delete that folder; {remedy}."
            ) from error

    def _check_json(self) -> None:
        """Orbax reads some files of every step at once, and its errors name none of them."""
        for step in self.directory.iterdir():
            if not step.name.isdecimal():
                continue
            try:
                if (about := step / ABOUT).is_file():
                    read_json_object(about, "delete the folder of this step")
                if (file := step / "metrics" / "metrics").is_file():
                    remedy = "write {} into it: the step then counts as not evaluated"
                    values = read_json_object(file, remedy)
                    if not all(type(value) in (int, float) and math.isfinite(value) for value in values.values()):
                        raise ValueError(f"{file}: holds {shown(values)}, numbers are wanted; {remedy}")
            except ValueError as error:
                if step.exists():  # a reader may come while the run deletes the step
                    raise CheckpointError(str(error)) from None

    def _empty_trash(self) -> None:
        if jax.process_index() == 0 and not self._read_only:
            shutil.rmtree(self.directory / TRASH, ignore_errors=True)

    def _remove_unfinished(self) -> None:
        """Removes what a killed save left. Orbax can too, but in a thread that may outlast the start of the run."""
        if jax.process_index() == 0 and not self._read_only:
            for leftover in self.directory.glob(f"*{ocp.utils.TMP_DIR_SUFFIX}*"):
                shutil.rmtree(leftover, ignore_errors=True)  # a thread of a save that failed may still write there

    def _named(self, step: int | None) -> str:
        return "" if step is None else f" of step {step}"


def _digest(host: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(host, sort_keys=True).encode()).hexdigest()


def _compare(saved: Mapping[str, str], found: Mapping[str, str]) -> None:
    """ValueError that names an entry that differs."""
    for name in sorted(saved.keys() | found.keys()):
        if saved.get(name) != found.get(name):
            raise ValueError(f"{name} is not what was saved, by its checksum")


def _first_cause(error: BaseException) -> str:
    """The first line of the error that started the chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def flatten_state(state: Any) -> dict[str, Any]:
    """{"params/kernel": array, ...}; TypeError names a leaf that is no array."""
    flat: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise TypeError(f"state leaf {name} is a {type(leaf).__name__}, not an array; put it into the host state.")
        if name in flat:
            raise ValueError(f"two state leaves have the path {name}; rename one.")
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise TypeError(f"state leaf {name} is a typed PRNG key; store its jax.random.key_data.")
        flat[name] = leaf
    return flat


def unflatten_state(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts from slash-separated paths."""
    tree: dict[str, Any] = {}
    for name, leaf in flat.items():
        *parents, last = name.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = leaf
    return tree


def differences(stored: Mapping[str, tuple], wanted: Mapping[str, tuple], limit: int = 20) -> list[str]:
    """One line per leaf that is missing, unexpected, or of another shape or type; at most `limit` and a count."""
    lines = [f"missing in the file: {name} {array_form(*wanted[name])}" for name in wanted if name not in stored]
    lines += [f"only in the file: {name} {array_form(*stored[name])}" for name in stored if name not in wanted]
    lines += [
        f"{name}: {array_form(*stored[name])} in the file, {array_form(*wanted[name])} in the program"
        for name in wanted
        if name in stored and array_form(*stored[name]) != array_form(*wanted[name])
    ]
    more = len(lines) - limit
    return lines if more <= 0 else [*lines[:limit], f"and {more} more"]


def _with_content(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Without arrays of no elements, which Orbax refuses and the target rebuilds."""
    return {name: leaf for name, leaf in flat.items() if leaf.size}


def released(state: Any) -> Any:
    """A target for `restore` in place of `state`, whose arrays are deleted: memory would not hold both."""

    def one(leaf: jax.Array) -> jax.ShapeDtypeStruct:
        shape = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
        leaf.delete()
        return shape

    return jax.tree.map(one, state)


def _abstract(leaf: Any) -> Any:
    """What Orbax needs to know to read a leaf; without a sharding it goes to the first device."""
    if isinstance(leaf, np.ndarray):
        return np.empty(leaf.shape, leaf.dtype)
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _rebuild(target: Any, flat: Mapping[str, Any]) -> Any:
    def build(path: Any, leaf: Any) -> Any:
        if not leaf.size:
            return (np if isinstance(leaf, np.ndarray) else jnp).zeros(leaf.shape, leaf.dtype)
        return flat[jax.tree_util.keystr(path, simple=True, separator="/")]

    return jax.tree_util.tree_map_with_path(build, target)
