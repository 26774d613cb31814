"""Data sets of the HuggingFace hub by name, and local folders in their layouts, through `datasets` (extra `hub`).

    data=hf:hiyouga/geometry3k@train          NAME@SPLIT; a subset is NAME/SUBSET of a hub name: hf:OWNER/NAME/SUBSET
    data=hf:path/to/folder                    what datasets.load_dataset reads there; the split as for any folder

Fields are taken from columns of other names where a record lacks them (NAMES), or as config.data.columns says. What is
not there gets a number (id) or is empty (images). Pictures are kept encoded. A set is not streamed: which record a step
takes is a function of the step's number, so all must be there, and their number known.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rrft_jax.data.pictures import Pictures
from rrft_jax.data.records import Problem, RecordError, Records, list_problems, parse_record, used_id
from rrft_jax.data.sources.tables import batch_rows

PREFIX = "hf:"
NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "problem": ("prompt", "question", "query"), "answer": ("solution", "label"), "images": ("image",),
})  # fmt: skip
MOST = 4 * 2**30  # bytes of a set, whose pictures stay in memory
PLAIN = ("id", "problem", "answer", "solution", "cot", "system", "image", "images", "messages", "task", "options")


def is_hub(folder: str | Path) -> bool:
    return str(folder).startswith(PREFIX)


def check_columns(columns: Sequence[str]) -> dict[str, str]:
    """("problem=query", ...) as {field: column}. ValueError for what is not of this form."""
    pairs = [entry.partition("=") for entry in columns]
    for entry, (name, equals, column) in zip(columns, pairs, strict=True):
        if not equals or name not in PLAIN or not column:
            raise ValueError(
                f"config.data.columns={entry!r}: give FIELD=COLUMN, such as problem=query; a field is one of "
                + ", ".join(PLAIN)
            )
    return {name: column for name, _, column in pairs}


def read_hub(
    reference: str, task: str, split: str, strict: bool, columns: Sequence[str],
    choose: Callable[[Sequence[str]], str | None],
) -> Records:
    """The records of hf:NAME@SPLIT. split: as @SPLIT, which may be left out. choose: a split of those that are there.

    Raises ValueError, FileNotFoundError or RecordError, which say what to do.
    """
    mapping = check_columns(columns)
    rows, label, note = _open(reference, split, choose)
    examples, problems, first = [], [], {}
    for number, row in rows:
        if isinstance(row, Problem):
            problems.append(row)
            continue
        example, found = parse_record(as_record(row, mapping, label, number), Pictures(()), task, label, number)
        if example is not None and example.id in first:
            found = (used_id(label, f"record {number}", first[example.id]),)
        problems += found
        if example is not None and not found:
            first[example.id] = f"{label}, record {number}"
            examples.append(example)
    if problems and strict:
        raise RecordError(f"{len(problems)} problems in {reference}:\n{list_problems(problems)}")
    if not examples:
        raise RecordError(f"no usable record in {reference}:\n{list_problems(problems, 20)}")
    return Records(tuple(examples), tuple(problems), (note,) if note else ())


def as_record(row: Mapping[str, Any], mapping: Mapping[str, str], label: str, number: int) -> dict[str, Any]:
    """A row with the fields of a record. mapping: field -> column, before NAMES. ValueError names a missing column."""
    record = renamed(row, mapping)
    talks = isinstance(record.get("messages"), list) or isinstance(record.get("prompt"), list)
    for name, others in NAMES.items():
        if record.get(name) is None and not (talks and name == "problem"):
            found = next((other for other in others if record.get(other) is not None), None)
            if found is not None and not (name == "images" and found == "image"):
                record[name] = record.pop(found)
    if record.get("image") is None and record.get("images") is None:
        record["images"] = []
    return {"id": f"{label}-{number:06d}"} | {name: value for name, value in record.items() if value is not None}


def renamed(row: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """The row with the columns of `mapping` (field -> column) under the fields' names. ValueError as of `as_record`."""
    for name, column in mapping.items():
        if column not in row:
            there = ", ".join(row)
            raise ValueError(f"config.data.columns={name}={column}: there is no such column; there are {there}")
    taken = {column: row[column] for column in mapping.values()}
    rest = {name: value for name, value in row.items() if name not in taken}
    return rest | {name: taken[column] for name, column in mapping.items()}


def _open(
    reference: str, split: str, choose: Callable[[Sequence[str]], str | None]
) -> tuple[Iterator[tuple[int, Any]], str, str]:
    """The numbered rows, a name for them, and a note about the split."""
    name, _, named = reference.removeprefix(PREFIX).partition("@")
    if split and named and split != named:
        raise ValueError(f"data={reference} and config.data.split={split} name two splits: leave one of them out")
    split = named or split
    if "stream" in split or "?" in name:
        raise ValueError(
            f"data={reference}: sets are not streamed, since the order of records is a function of their number, the "
            "same after a resume and on any number of processes; take a part, as in config.data.range=0,5000"
        )
    if importlib.util.find_spec("datasets") is None:
        raise ValueError(f"data={reference} needs the package datasets: pip install datasets")
    datasets: Any = importlib.import_module("datasets")
    folder = Path(name).expanduser()
    place, *subset = [str(folder)] if folder.exists() else ["/".join(name.split("/")[:2]), *name.split("/")[2:3]]
    try:
        found = datasets.load_dataset(place, *subset)
    except Exception as error:  # of many kinds, of that package and those below it
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"data={reference} cannot be loaded: {why}") from error
    there = tuple(found)
    chosen = split or choose(there) or (there[0] if len(there) == 1 else "")
    if chosen not in there:
        listed = ", ".join(there)
        raise ValueError(f"data={reference}: it has the splits {listed}; name one, as in {PREFIX}{name}@{there[0]}")
    table = found[chosen]
    if table.data.nbytes > MOST:
        raise ValueError(
            f"data={reference}: {table.data.nbytes / 2**30:.1f} GiB are too much to keep in memory; download its "
            "Parquet files and prepare them once:\n"
            "  python launch/prepare_data.py --source=parquet --input=FOLDER --data_dir=data"
        )
    label = f"{Path(place).name}-{chosen}"
    note = f"split {chosen} is read, of {', '.join(there)}" if len(there) > 1 else ""
    return _rows(table, label), label, note


def _rows(table: Any, label: str) -> Iterator[tuple[int, Any]]:
    """Without decoding a picture: Arrow has the bytes as they were stored."""
    number = 0
    for part in table.with_format("arrow").iter(batch_size=64):
        for batch in part.to_batches():
            for row in batch_rows(batch, label, number):
                yield number, row
                number += 1
