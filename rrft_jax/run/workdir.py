"""The directory of one run: what made it, whether it may be continued, and whether it is finished.

    config.json      resolved config; the last file written at the start, so its presence means "started"
    versions.json    program and library versions, platform, git commit, seeds, digests of the user's own files, of
                     the first start
    sessions.jsonl   one line per start or resume: time, process, command, versions, config fields that changed
    skipped.jsonl    one line per record that training does not use, and why
    filter/          rollouts.jsonl: rollouts of each record and how many are right (config.data.filter_rollouts)
    DONE             summary of a finished run (JSON)

All but the lines of sessions.jsonl are written whole or not at all.
"""

import contextlib
import fcntl
import fnmatch
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import ml_collections

from rrft_jax.fields import section_of, text
from rrft_jax.files import read_json_object, write_json
from rrft_jax.run.room import naming_full_disk
from rrft_jax.run.versions import collect_versions, user_files, version_notes

CONFIG, VERSIONS, SESSIONS, DONE, LOCK = "config.json", "versions.json", "sessions.jsonl", "DONE", ".lock"
STAGE1 = "stage1"  # the run directory of a recipe's first stage, within that of the whole
FILTER = "filter"  # counts of right rollouts, made before the first step (config.data.filter_rollouts)
ABSENT = "(absent)"


class WorkdirError(ValueError):
    """The directory cannot be used for this run; the message says why and what to do."""


@dataclass(frozen=True)
class Workdir:
    """An opened run directory.

    resumed: an unfinished or finished run was already there.
    changed: permitted config changes, dotted field -> (old, new).
    notes: differences of versions or machine to the first start that can change the last bits of the result.
    created: whether this start made the directory.
    """

    path: Path
    resumed: bool = False
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lock: TextIO | None = None
    created: bool = False

    @property
    def finished(self) -> bool:
        return (self.path / DONE).exists()

    def mark_done(self, summary: Mapping[str, Any]) -> None:
        write_json(self.path / DONE, dict(summary))

    def abandon(self) -> None:
        """Undoes a start that ran nothing: removes the directory if this start made it."""
        for name in (CONFIG, VERSIONS, SESSIONS) if self.created else (CONFIG,):
            (self.path / name).unlink(missing_ok=True)
        self.close()
        if self.created:
            (self.path / LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody else's files are there
                self.path.rmdir()

    def close(self) -> None:
        """Lets another process open the directory; the end of the process does the same."""
        if self.lock is not None:
            self.lock.close()


def open_workdir(
    path: str | Path,
    config: ml_collections.ConfigDict,
    may_change: Sequence[str] = (),
    upgrade: Callable[[dict], dict] = dict,
) -> Workdir:
    """Creates the directory of a new run, or resumes the run that is there.

    may_change: fnmatch patterns of dotted fields that a resume may change ("log.*"); every other difference to the
    stored config is refused with a list. upgrade: brings a config that an earlier version stored into today's fields.
    Only the first process of a multi-process run calls this.
    """
    path = Path(path).expanduser().absolute()
    _refuse_foreign(path)
    new = resolve_config(config)
    created = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkdirError(f"--workdir {path} cannot be made ({error.strerror}); give a directory that can") from None
    _remove_temporary(path)
    with naming_full_disk(path):
        lock = _lock(path)
        try:
            return replace(_start(path, new, may_change, upgrade, lock), created=created)
        except BaseException:
            if lock is not None:
                lock.close()
            raise


def _start(
    path: Path, new: dict, may_change: Sequence[str], upgrade: Callable[[dict], dict], lock: TextIO | None
) -> Workdir:
    versions = {**collect_versions(), "seeds": find_seeds(new), "files": user_files(flatten(new))}
    resumed = (path / CONFIG).exists()
    changed: dict[str, tuple[Any, Any]] = {}
    notes: tuple[str, ...] = ()
    if resumed:
        changed = config_changes(json.loads(json.dumps(upgrade(_read_json(path / CONFIG)))), new)
        refused = {k: v for k, v in changed.items() if not any(fnmatch.fnmatchcase(k, p) for p in may_change)}
        if refused:
            lines = "\n".join(f"  {k}: {json.dumps(a)} -> {json.dumps(b)}" for k, (a, b) in refused.items())
            raise WorkdirError(
                f"{path} holds a run with another config, so it cannot be resumed with this one:\n{lines}\n"
                "Restore these fields, or give another --workdir to start a new run."
            )
        first = _read_json(path / VERSIONS) if (path / VERSIONS).exists() else {}
        section_of(first, path / VERSIONS, "files")
        notes = version_notes(first, versions)
    else:
        write_json(path / VERSIONS, versions)
    session = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "pid": os.getpid(),
        "argv": sys.argv,
        "resumed": resumed,
        "changed": changed,
        **versions,
    }
    _append_line(path / SESSIONS, json.dumps(session))
    if changed or not resumed:
        write_json(path / CONFIG, new)
    return Workdir(path, resumed, changed, notes, lock)


def resolve_config(config: ml_collections.ConfigDict) -> dict:
    """The config as plain JSON values (tuples become lists). ValueError names a field that JSON cannot hold."""
    plain = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else dict(config)
    for name, value in flatten(plain).items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise WorkdirError(f"config field {name} = {value!r} cannot be stored as JSON: {error}") from None
    return json.loads(json.dumps(plain))


def stored_config(path: str | Path) -> ml_collections.ConfigDict:
    """The stored config of a run directory. Lists come back as tuples, as config files write them."""
    file = Path(path) / CONFIG
    if not file.exists():
        raise WorkdirError(f"{path} is no run directory: it has no {CONFIG}.")
    stored = _tuples(_read_json(file))
    try:
        return ml_collections.ConfigDict(stored)
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # names that a config cannot have
        raise WorkdirError(f"{file}: not the config of a run ({error}); restore it.") from None


def trained_with(path: str | Path) -> tuple[str, str, str]:
    """(task, prompt, data.folder) of the run in a directory: what decides how its checkpoint is asked. ValueError names
    the file and the field."""
    file, config = Path(path) / CONFIG, stored_config(path).to_dict()
    folder = text(section_of(config, file, "data"), file, "folder", "")
    return text(config, file, "task"), text(config, file, "prompt"), folder


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def config_changes(old: Mapping, new: Mapping) -> dict[str, tuple[Any, Any]]:
    """Dotted fields whose values differ -> (old, new)."""
    a, b = flatten(old), flatten(new)
    pairs = {k: (a.get(k, ABSENT), b.get(k, ABSENT)) for k in sorted(a.keys() | b.keys())}
    # Compared as text: True == 1 == 1.0 in Python, yet a float learning rate is not an integer one.
    return {k: (x, y) for k, (x, y) in pairs.items() if json.dumps(x) != json.dumps(y)}


def find_seeds(config: Mapping) -> dict[str, Any]:
    """Every dotted field whose last name is or ends in `seed`."""
    return {k: v for k, v in flatten(config).items() if k.rsplit(".", 1)[-1].endswith("seed")}


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise WorkdirError(f"--workdir {path} is a file; give a directory.")
    if not path.exists() or (path / CONFIG).exists():
        return
    ours = (VERSIONS, SESSIONS, LOCK, STAGE1, FILTER)
    foreign = sorted(p.name for p in path.iterdir() if p.name not in ours and not p.name.startswith("."))
    if foreign:
        raise WorkdirError(
            f"--workdir {path} is not empty and holds no run ({CONFIG} is missing; found {', '.join(foreign[:5])}). "
            "Give an empty or a new directory."
        )


def _remove_temporary(path: Path) -> None:
    for name in (CONFIG, VERSIONS, DONE):
        for leftover in path.glob(f".{name}.tmp-*"):
            leftover.unlink(missing_ok=True)


def _lock(path: Path) -> TextIO | None:
    """A record lock: it goes with the process, even by SIGKILL, and forked reward workers do not inherit it."""
    handle = open(path / LOCK, "a+")  # noqa: SIM115, held until the process ends
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        handle.seek(0)
        owner = handle.read().strip() or "unknown"
        handle.close()
        raise WorkdirError(
            f"{path} is in use by process {owner}. Wait for it, or stop it (SIGINT saves first), then run this again."
        ) from None
    except OSError:  # a file system without locks: continue without the protection
        handle.close()
        return None
    handle.truncate(0)
    with contextlib.suppress(OSError):  # a full disk: the lock holds, it only does not say whose it is
        os.write(handle.fileno(), str(os.getpid()).encode())
    return handle


def _append_line(file: Path, line: str) -> None:
    # A process killed inside an append leaves a line without its end; the next line must not be glued to it.
    torn = file.exists() and file.stat().st_size > 0 and not file.read_bytes().endswith(b"\n")
    with open(file, "a") as f:
        f.write(("\n" if torn else "") + line + "\n")


def _read_json(file: Path) -> dict[str, Any]:
    return read_json_object(file, "restore it, or start in a new --workdir", error=WorkdirError)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


EXPORT = "hf"  # the HuggingFace directory a finished run leaves in its workdir
ADAPTER = "adapter"  # and the PEFT adapter, where one was trained
