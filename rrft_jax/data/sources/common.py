"""Shared by all sources: parts with their streams, the names of tasks, and the check that no id is used twice."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.records import Problem, RecordError, Records, list_problems, read_json, used_id
from rrft_jax.data.values import kind_of, other_content, parse_records
from rrft_jax.files import check_regular

TASKS = ("visual_counting", "structure_perception", "spatial_transformation", "vqa")
# Their names in the published files and scripts.
_ALIASES = {
    "visual_counting": ("visual-counting", "clevr-math", "clevrmath", "super-clevr", "superclevr"),
    "structure_perception": ("structure-perception", "geomath", "geo-math", "geometry3k", "geoqa", "geomverse"),
    "spatial_transformation": ("spatial-transformation", "trance"),
    "vqa": ("visual-question-answering", "vqa"),
}

_SHARD = re.compile(r"-\d{5}-of-\d{5}(?:-[0-9a-f]{16})?$")

# One record of a part: the Example, or everything that is wrong with it.
Item = Example | tuple[Problem, ...]


@dataclass(frozen=True)
class Part:
    """One split of one task. items(): a new pass over its records in their order, at most `count` of them."""

    task: str
    split: str
    count: int
    items: Callable[[], Iterable[Item]]


@dataclass(frozen=True)
class Found:
    """The parts of a folder, what is wrong with whole files, and files that are left aside on purpose, with why."""

    parts: tuple[Part, ...]
    problems: tuple[Problem, ...] = ()
    aside: tuple[str, ...] = ()


def task_in(name: str) -> str:
    """The task in a file's name, as the published files spell it ("A3-Visual-Counting-..."), or ""."""
    name = name.lower().replace("_", "-")
    return next((task for task, words in _ALIASES.items() if any(word in name for word in words)), "")


def named_in(name: str) -> str:
    """As `task_in`, of whole words alone: "entrance.json" does not name TRANCE."""
    name = "-" + re.sub(r"[\W_]+", "-", name.lower()) + "-"
    return next((task for task, words in _ALIASES.items() if any(f"-{word}-" in name for word in words)), "")


def known_task(name: Any) -> str:
    """A task by its name or by one of the published names, or "" where it is neither."""
    if not isinstance(name, str):
        return ""
    return name if name in TASKS else next((t for t, words in _ALIASES.items() if name.lower() in words), "")


def unknown_task(file: str, record: str, what: str) -> Problem:
    return Problem(file, record, "unknown task", f"{what}; the tasks are {', '.join(TASKS)}: name one with --task")


def split_name(stem: str) -> str:
    """A file's name as the name of a split: lower case, words joined by _, without a shard's -00000-of-00001.

    A shard's name may end in a digest, as older HuggingFace files do. "all" means every split to tensorflow-datasets.
    """
    name = re.sub(r"\W+", "_", _SHARD.sub("", stem).lower()).strip("_") or "train"
    return "all_records" if name == "all" else name


def once(items: Iterable[Item]) -> Iterator[Item]:
    """The items, where an Example whose id has been used before becomes a Problem."""
    first: dict[str, str] = {}
    for item in items:
        if isinstance(item, Example):
            file, number = item.metadata["file"], item.metadata["record"]
            if item.id in first:
                yield (used_id(file, f"record {number} (id {item.id!r})", first[item.id]),)
                continue
            first[item.id] = f"{file}, record {number}"
        yield item


def read_part(part: Part, strict: bool = False) -> Records:
    """The whole part in memory. strict: raise a RecordError that lists every problem instead of skipping its record."""
    examples, problems = [], []
    for item in part.items():
        if isinstance(item, Example):
            examples.append(item)
        else:
            problems += item
    if problems and strict:
        raise RecordError(f"{len(problems)} problems in {part.split}:\n{list_problems(problems)}")
    return Records(tuple(examples), tuple(problems))


def read_json_file(path: Path, file: str) -> tuple[Any, tuple[Problem, ...]]:
    """The value of a published JSON file, or None and what is wrong with it. file: what reports call it."""
    return read_json(path, file, "get the file again")


def read_lines(path: Path, fields: str) -> Iterator[tuple[int, dict | Problem]]:
    """The objects of a JSON Lines file, or what is wrong with a line, each with its number from 0.

    Empty lines are skipped. What keeps the whole file from being read is one problem. fields: what an object has, for
    the message about a line that holds none.
    """
    try:
        check_regular(path)
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                if number == 0 and (wrong := _not_lines(line)):
                    yield 0, Problem(path.name, "", "bad JSON", wrong)
                    return
                if line.strip():
                    yield number, _line(line.rstrip(), number, path.name, fields)
    except OSError as error:
        message = f"cannot be read ({error.strerror or error}); correct or remove the file"
        yield 0, Problem(path.name, "", "bad JSON", message)


def _not_lines(first: bytes) -> str:
    """What a file with this first line is in place of a record a line, and what to do."""
    if first.removeprefix(b"\xef\xbb\xbf").strip() == b"[":
        return "holds one list of records; name it .json"
    return other_content(first)


def _line(line: bytes, number: int, file: str, fields: str) -> dict | Problem:
    record = f"record {number}"
    try:
        value = parse_records(line, number)
    except ValueError as error:
        return Problem(file, record, "bad JSON", f"{error}; correct or remove line {number + 1}")
    if isinstance(value, dict):
        return value
    remedy = "; name the file .json if it is one list of records" if isinstance(value, list) else ""
    return Problem(file, record, "wrong type", f"is {kind_of(value)} where an object with {fields} belongs{remedy}")


def source_folder(folder: str | Path, layout: str) -> Path:
    """`folder` as a Path. Raises FileNotFoundError that says what it should hold."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"--input={folder} is no folder; it should hold {layout}")
    return folder
