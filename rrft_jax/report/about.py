"""What made a run, what it warned of, and its tables, from the files of its directory."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rrft_jax.files import parse_json, read_json_object
from rrft_jax.run.workdir import CONFIG, DONE, SESSIONS, STAGE1, VERSIONS, flatten

Table = dict[str, Any]  # title, head and rows of text, and notes


def runs_of(workdirs: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The runs in these directories, a first stage before its second: name, path and stage (1, 2, or 0 where a run has
    no first stage). ValueError for a directory without a run."""
    found = []
    for workdir in map(Path, workdirs):
        if not (workdir / CONFIG).exists() and not (workdir / STAGE1 / CONFIG).exists():
            raise ValueError(f"{workdir} is no run directory: it has no {CONFIG}")
        name, two = workdir.absolute().name, (workdir / STAGE1 / CONFIG).exists()
        if two:
            found.append({"name": f"{name}, stage 1", "path": workdir / STAGE1, "stage": 1})
        if (workdir / CONFIG).exists():
            found.append({"name": f"{name}, stage 2" if two else name, "path": workdir, "stage": 2 if two else 0})
    names = [run["name"] for run in found]
    for number, run in enumerate(found, 1):
        if names.count(run["name"]) > 1:
            run["name"] = f"{run['name']} ({number})"
    return found


def config_of(path: Path) -> dict[str, Any]:
    """The stored config, dotted field -> value; {} where it cannot be read."""
    return flatten(_object(path / CONFIG))


def versions_of(path: Path) -> dict[str, Any]:
    return flatten(_object(path / VERSIONS))


def comparison(title: str, names: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> Table:
    """A row per field, a column per run; `differs` lists the rows in which the runs are not alike."""
    fields = list(dict.fromkeys(name for run in runs for name in run))
    rows = [[field, *(_text(run[field]) if field in run else "" for run in runs)] for field in fields]
    differs = [k for k, row in enumerate(rows) if len(set(row[1:])) > 1]
    return {"title": title, "head": ["", *names], "rows": rows, "differs": differs, "notes": []}


def state_of(path: Path) -> str:
    if not (path / DONE).exists():
        return "not finished"
    cpu = _object(path / DONE).get("cpu_seconds")
    return f"finished, {cpu:,.0f} CPU-seconds" if isinstance(cpu, int | float) else "finished"


def notes_of(path: Path) -> list[str]:
    """What is to be known before a result is trusted."""
    notes = []
    sessions = [_line(line) for line in _lines(path / SESSIONS)]
    resumed = [session for session in sessions if session.get("resumed")]
    if resumed:
        notes.append(f"resumed {len(resumed)} time(s)")
    for session in resumed:
        for field, change in (session.get("changed") or {}).items():
            old, new = change if isinstance(change, list) and len(change) == 2 else ("?", change)
            notes.append(f"config.{field}: {_text(old)} -> {_text(new)} when it was resumed")
    git = _object(path / VERSIONS).get("git")
    if isinstance(git, dict) and git.get("dirty"):
        notes.append("the sources had changes that commit does not hold")
    skipped = len(_lines(path / "skipped.jsonl"))
    if skipped:
        notes.append(f"{skipped} records are not used; skipped.jsonl says why")
    return notes


def held_out_table(name: str, metrics: Mapping[str, tuple]) -> Table | None:
    """Accuracy of each held-out set before, at its best and at the end; None where none was evaluated."""
    rows = []
    for key, (x, y, _) in metrics.items():
        if key.startswith("eval") and key.endswith("/accuracy") and len(x):
            best, count = int(y.argmax()), metrics.get(key.replace("accuracy", "questions"))
            questions = f"{count[1][-1]:.0f}" if count and len(count[1]) else ""
            shown = [f"{100 * y[k]:.1f} % (step {x[k]:.0f})" for k in (0, best, -1)]
            rows.append([key.removesuffix("/accuracy"), questions, *shown])
    head = ["held-out set", "questions", "first", "best", "last"]
    return {"title": f"{name}: greedy accuracy", "head": head, "rows": rows, "notes": []} if rows else None


def evaluation_tables(path: Path) -> list[Table]:
    """The tables that launch/evaluate.py left in the run directory or a folder in it, published rows included."""
    tables = []
    for file in sorted([*path.glob("*/table.md"), *path.glob("table.md")]):
        if file.parent.name == STAGE1:
            continue
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if line.startswith("|")]
        if len(rows) > 2:
            notes = [line for line in lines if line.strip() and not line.startswith("|")]
            title = f"{path.name}: {file.parent.name}"
            tables.append({"title": title, "head": rows[0], "rows": rows[2:], "notes": notes})
    return tables


def _object(file: Path) -> dict[str, Any]:
    try:
        return read_json_object(file)
    except ValueError:
        return {}


def _lines(file: Path) -> list[bytes]:
    try:
        return [line for line in file.read_bytes().split(b"\n") if line.strip()]
    except OSError:
        return []


def _line(content: bytes) -> dict[str, Any]:
    try:
        value = parse_json(content)
    except ValueError:  # a process was killed while it wrote this
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
