"""Visual-RFT's records as published: {"image", "problem", "solution"} in JSON lists or in HuggingFace's Parquet files.

    FOLDER/*.json, *.parquet, or one folder below; pictures where the paths start, or in the Parquet files

Records have no ids: an id is the file's name and the record's place. The form of the first solution of a file tells its
task: a list of positions, two corners, else a name.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.data.pictures import Pictures
from rrft_jax.data.records import Problem, load_list, parse_record
from rrft_jax.data.sources.common import Found, Item, Part, once, source_folder, split_name
from rrft_jax.data.sources.tables import parquet_rows, pictures_for
from rrft_jax.data.values import kind_of

DETECTION, CLASSIFICATION, GROUNDING = "detection", "classification", "reasoning_grounding"
_CATEGORY = re.compile(r"belonging to the category '([^'\n]{1,200})'")
_CORNERS = re.compile(r"\(\s*\d+\s*,\s*\d+\s*\)\s*,\s*\(\s*\d+\s*,\s*\d+\s*\)")


def find(folder, image_root: str = "") -> Found:
    """One part for each task and file name."""
    layout = "*.json lists or *.parquet files of image, problem and solution"
    folder = source_folder(folder, layout)
    files = [p for pattern in ("*.json", "*.parquet", "*/*.json", "*/*.parquet") for p in sorted(folder.glob(pattern))]
    files = [path for path in files if path.name not in ("dataset_info.json", "state.json", "dataset_dict.json")]
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no JSON list and no Parquet file; it should hold {layout}")
    groups: dict[tuple[str, str], list[Path]] = {}
    for path in files:
        first = next((row for _, row in _rows(path) if isinstance(row, dict)), {})
        groups.setdefault((task_of(first.get("solution")), split_name(path.stem)), []).append(path)
    parts = []
    for (task, split), paths in groups.items():
        count = sum(max(1, sum(1 for _ in _rows(path))) for path in paths)
        read = partial(_items, tuple(paths), task, folder, image_root)
        parts.append(Part(task, split, count, lambda read=read: once(read())))
    return Found(tuple(parts))


def task_of(solution: Any) -> str:
    """The task that a solution is of."""
    text = solution if isinstance(solution, str) else ""
    if "Position" in text or "No Objects" in text:
        return DETECTION
    return GROUNDING if _CORNERS.search(text) else CLASSIFICATION


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    if path.suffix == ".parquet":
        yield from parquet_rows(path, None)
        return
    records, wrong = load_list(path)
    yield from enumerate((*wrong, *records))


def _items(paths: tuple[Path, ...], task: str, folder: Path, image_root: str) -> Iterator[Item]:
    for path in paths:
        pictures: Pictures = pictures_for(path.parent, folder, image_root)
        for number, row in _rows(path):
            if isinstance(row, Problem):
                yield (row,)
                continue
            if not isinstance(row, dict):
                message = f"is {kind_of(row)} where an object with image, problem and solution belongs"
                yield (Problem(path.name, f"record {number}", "wrong type", message),)
                continue
            record = {"id": f"{path.stem}-{number:06d}"} | row
            found = _CATEGORY.search(str(row.get("problem")))
            if task == DETECTION and found:
                image = row.get("image")
                shown = image.get("path") if isinstance(image, dict) else image
                record |= {"category": found[1]} | ({"image_id": shown} if isinstance(shown, str) else {})
            example, problems = parse_record(record, pictures, task, path.name, number)
            yield example or problems
