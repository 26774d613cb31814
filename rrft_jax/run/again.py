"""A run that repeats another: what is not as it was, in lines."""

from collections.abc import Callable
from pathlib import Path

from rrft_jax.files import read_json_object, write_json
from rrft_jax.run.versions import version_notes
from rrft_jax.run.workdir import CONFIG, STAGE1, VERSIONS, config_changes

DATA = "data.json"  # the digest of what a run was trained on, and of how many records


def record_data(path: Path, digest: str, records: int) -> list[str]:
    """Writes data.json at a run's first start. A line, at a resume, if the data are not those of the start."""
    now = {"digest": digest, "records": records}
    if not (path / DATA).exists():
        write_json(path / DATA, now)
        return []
    then = read_json_object(path / DATA)
    return [] if then == now else [f"the data are not those that the run began with ({then} -> {now})"]


def differences(path: Path, like: Path, upgrade: Callable[[dict], dict]) -> list[str]:
    """How the run directory `path`, which has just been opened, differs from that of the run which it repeats: config,
    data, seeds, versions."""
    old, new = (upgrade(read_json_object(folder / CONFIG)) for folder in (like, path))
    changes = config_changes(old, new)
    if str(new.get("init", "")) == str(path / STAGE1):  # each run has a first stage of its own
        changes.pop("init", None)
    lines = [f"config.{name}: {before} -> {after}" for name, (before, after) in changes.items()]
    if (like / DATA).exists():
        then, now = (read_json_object(folder / DATA) for folder in (like, path))
        lines += [f"data {name}: {then.get(name)} -> {now[name]}" for name in now if then.get(name) != now[name]]
    else:
        lines.append(f"data: not known, {like / DATA} is missing")
    if (like / VERSIONS).exists():
        lines += version_notes(read_json_object(like / VERSIONS), read_json_object(path / VERSIONS))
    return lines
