"""What made a run, what it warned of, and its tables, from the files of its directory."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rrft_jax.files import parse_json, read_json_object
from rrft_jax.run.workdir import CONFIG, DONE, SESSIONS, STAGE1, VERSIONS, flatten

Table = dict[str, Any]  # title, head and rows of text, and notes


def runs_of(workdirs: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The runs in these directories, a first stage before its second: name, path and stage (1, 2, or 0 where a run has
    no first stage). ValueError for a directory without a run."""
    found: list[dict[str, Any]] = []
    for workdir in map(Path, workdirs):
        stages = {1: workdir / STAGE1, 2: workdir} if (workdir / STAGE1 / CONFIG).exists() else {0: workdir}
        started = {stage: path for stage, path in stages.items() if (path / CONFIG).exists()}
        if not started:
            raise ValueError(f"{workdir} is no run directory: it has no {CONFIG}")
        for stage, path in started.items():
            name = f"{workdir.absolute().name}, stage {stage}" if stage else workdir.absolute().name
            found.append({"name": name, "path": path, "stage": stage})
    names = [run["name"] for run in found]
    for number, run in enumerate(found, 1):
        if names.count(run["name"]) > 1:
            run["name"] = f"{run['name']} ({number})"
    return found


def fields_of(file: Path) -> dict[str, Any]:
    """What a JSON file holds, dotted field -> value; {} where it cannot be read."""
    with suppress(ValueError):
        return flatten(read_json_object(file))
    return {}


def comparison(title: str, names: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> Table:
    """A row per field, a column per run; `differs` lists the rows in which the runs are not alike."""
    fields = list(dict.fromkeys(name for run in runs for name in run))
    rows = [[field, *(_text(run[field]) if field in run else "" for run in runs)] for field in fields]
    differs = [k for k, row in enumerate(rows) if len(set(row[1:])) > 1]
    return {"title": title, "head": ["", *names], "rows": rows, "differs": differs, "notes": []}


def state_of(path: Path) -> str:
    if not (path / DONE).exists():
        return "not finished"
    cpu = fields_of(path / DONE).get("cpu_seconds")
    return f"finished, {cpu:,.0f} CPU-seconds" if isinstance(cpu, int | float) else "finished"


def notes_of(path: Path) -> list[str]:
    """What is to be known before a result is trusted."""
    resumed = [session for session in _objects(path / SESSIONS) if session.get("resumed")]
    notes = [f"resumed {len(resumed)} time(s)"] if resumed else []
    for session in resumed:
        changed = session.get("changed")
        for field, change in changed.items() if isinstance(changed, dict) else ():
            values = change if isinstance(change, list) else [change]  # from one to another
            notes.append(f"config.{field}: {' -> '.join(map(_text, values))} when it was resumed")
    if fields_of(path / VERSIONS).get("git.dirty"):
        notes.append("the sources had changes that commit does not hold")
    skipped = len(_objects(path / "skipped.jsonl"))
    if skipped:
        notes.append(f"{skipped} records are not used; skipped.jsonl says why")
    return notes


def held_out_tables(name: str, metrics: Mapping[str, tuple]) -> list[Table]:
    """One table: accuracy of each held-out set before, at its best and at the end; none where none was evaluated."""
    rows = []
    for key, (x, y, _) in metrics.items():
        if key.startswith("eval") and key.endswith("/accuracy") and len(x):
            shown = [f"{100 * y[k]:.1f} % (step {x[k]:.0f})" for k in (0, y.argmax(), -1)]
            counts = metrics.get(key.replace("accuracy", "questions"), ((), ()))[1]
            rows.append([key.removesuffix("/accuracy"), f"{counts[-1]:.0f}" if len(counts) else "", *shown])
    head = ["held-out set", "questions", "first", "best", "last"]
    return [{"title": f"{name}: greedy accuracy", "head": head, "rows": rows, "notes": []}] if rows else []


def evaluation_tables(path: Path) -> list[Table]:
    """The tables that launch/evaluate.py left in the run directory or a folder in it, published rows included."""
    tables = []
    for file in sorted([*path.glob("*/table.md"), *path.glob("table.md")]):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if line.startswith("|")]
        if len(rows) > 2 and file.parent.name != STAGE1:
            notes = [line for line in lines if line.strip() and not line.startswith("|")]
            title = f"{path.name}: {file.parent.name}"
            tables.append({"title": title, "head": rows[0], "rows": rows[2:], "notes": notes})
    return tables


def _objects(file: Path) -> list[dict[str, Any]]:
    """Those in the lines of a file; a process may have been killed while it wrote one."""
    content, found = b"", []
    with suppress(OSError):
        content = file.read_bytes()
    for line in content.split(b"\n"):
        with suppress(ValueError):
            found.append(parse_json(line))
    return [value for value in found if isinstance(value, dict)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
