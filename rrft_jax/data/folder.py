"""Reads the records that `data=` or `--data_dir` names: one function for training and evaluation.

    a data set of launch/prepare_data.py, or a folder above it
    FILE or FOLDER with lists (*.json), a record a line (*.jsonl), tables (*.parquet) or WebDataset's files (*.tar)
    a pattern of the latter, such as shards/train-{000..012}.tar
    Reason-RFT-CoT-Dataset as downloaded, with train_jsons/ or pictures in zips

Of a folder that holds training and test files, only those of the split that is asked for are read.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rrft_jax.data.prepared import find_prepared, prepared_splits, read_prepared
from rrft_jax.data.records import (
    Problem,
    RecordError,
    Records,
    list_problems,
    load_list,
    parse_record,
    record_name,
    used_id,
)
from rrft_jax.data.sources import reason_rft
from rrft_jax.data.sources.common import read_part, split_name
from rrft_jax.data.sources.hub import check_columns, is_hub, read_hub, renamed
from rrft_jax.data.sources.tables import Row, jsonl_rows, parquet_rows, pictures_for
from rrft_jax.data.sources.webdataset import ENDING as TAR
from rrft_jax.data.sources.webdataset import expanded, is_pattern, refuse_streams, tar_pictures, tar_rows

TRAIN, TEST, VALIDATION = "train", "test", "validation"
FOR_TRAINING = (TRAIN, "")
FOR_EVALUATION = (TEST, VALIDATION, "", TRAIN)
ENDINGS = (".json", ".jsonl", ".parquet", TAR)
MAX_TABLES = 4 * 2**30  # bytes of Parquet files, whose pictures stay in memory
_WORDS = {
    TRAIN: {"train", "training"},
    TEST: {"test", "testing"},
    VALIDATION: {"val", "valid", "validation", "dev", "eval"},
}
# What is often a file of records too: another format, packed, or with an ending in capitals.
_RECORDS_ELSE = re.compile(
    r".+(?:\.(?:csv|tsv|ndjson|arrow|xlsx)|\.(?:jsonl?|parquet|tar|csv)\.(?:gz|zst|xz|bz2)|\.tgz"
    r"|\.(?!json$|jsonl$|parquet$|tar$)(?i:json|jsonl|parquet|tar))"
)
_NAME_ONE = "name one with config.data.split, or with --split in launch/evaluate.py"
_PREPARE = "python launch/prepare_data.py --source=... --input={} --data_dir=data"


def read_folder(
    folder: str | Path, task: str, split: str = "", image_root: str = "", strict: bool = False,
    wanted: Sequence[str] = FOR_TRAINING, columns: Sequence[str] = (),
) -> Records:
    """The records of `task` at `folder`, or of a data set of the hub, hf:NAME@SPLIT (`sources.hub`).

    split: its name; empty: the first of `wanted` that exists, where "" stands for files named after no split. strict:
    raise a RecordError that lists every problem instead of skipping the records that have one. image_root: where image
    paths start, absolute or relative to the folder. columns: FIELD=COLUMN, of records that are not prepared. Raises
    FileNotFoundError or ValueError that says what can be read.
    """
    if is_hub(folder):
        if image_root:
            raise ValueError(f"config.data.image_root: {folder} holds its pictures itself; leave it empty")
        return read_hub(str(folder), task, split, strict, columns, lambda there: split_among(there, wanted))
    refuse_streams(str(folder))
    folder = Path(folder).expanduser()
    prepared = find_prepared(folder, task)
    if columns and (prepared is not None or is_published(folder)):
        raise ValueError(f"config.data.columns: {folder} is read by the fields of its records; leave it empty")
    if prepared is not None:
        if image_root:
            raise ValueError(f"config.data.image_root: {prepared} holds its pictures itself; leave it empty")
        splits = prepared_splits(prepared)
        name = split or split_among(splits, wanted) or wanted[0]
        return replace(read_prepared(prepared, task, name, strict), notes=_note(name, splits))
    if is_published(folder):
        found = reason_rft.find(folder, task, image_root)
        parts = {part.split: part for part in found.parts if part.task == task}
        name = split or split_among(tuple(parts), wanted) or wanted[0]
        if name not in parts:
            there = ", ".join(parts) or list_problems(found.problems, 20) or "none of this task"
            raise ValueError(f"{folder} has no split {name!r} of {task}; it holds {there}: {_NAME_ONE}")
        return replace(read_part(parts[name], strict), notes=_note(name, tuple(parts)))
    return read_records(folder, task, image_root or None, strict, split, wanted, columns)


def split_among(there: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The split to read: the one of the first kind of `wanted` that exists; None where none does, or several."""
    for kind in wanted:
        same = [kind] if kind in there else [name for name in there if kind_of_split(name) == kind]
        if same:
            return same[0] if len(same) == 1 else None
    return None


def is_published(folder: Path) -> bool:
    """Whether it is the layout of Reason-RFT-CoT-Dataset that `read_records` does not know."""
    lists = any(folder.glob("*.json"))
    return any(folder.glob("*_jsons/*.json")) or lists and any(folder.glob("*_images.zip"))


def read_records(
    folder: str | Path, task: str = "", image_root: str | Path | None = None, strict: bool = False, split: str = "",
    wanted: Sequence[str] = FOR_TRAINING, columns: Sequence[str] = (),
) -> Records:
    """As `read_folder`, of a file or of a folder with record files, in the order of their names.

    image_root: by default a path is tried under the file's folder and the folder itself, and images/ and train_images/
    in both. Raises FileNotFoundError for a missing folder or image root, RecordError where no record is left.
    """
    folder = Path(folder).expanduser()
    files, mapping = record_files(folder), check_columns(columns)
    files, aside = _of_split(files, split, wanted, folder)
    aside += _not_read(folder, files)
    tables = sum(path.stat().st_size for path in files if path.suffix == ".parquet" and path.is_file())
    if tables > MAX_TABLES:
        command = _PREPARE.format(folder).replace("...", f"parquet --task={task}")
        size = f"{tables / 2**30:.1f} GiB of Parquet files"
        raise ValueError(f"{folder}: {size} are too much to keep in memory; prepare them once:\n  {command}")
    top = folder if folder.is_dir() else folder.parent
    root = "" if image_root is None else str(Path(image_root).expanduser())
    if root and not (top / root).is_dir():
        raise FileNotFoundError(f"image root {top / root} does not exist; it is absolute or relative to {top}")

    examples, problems, first_seen = [], [], {}
    for path in files:
        pictures = tar_pictures(path) if path.suffix == TAR else pictures_for(path.parent, top, root)
        for number, row in _rows(path, mapping):
            if mapping and isinstance(row, dict) and path.suffix != TAR:
                row = _renamed(row, mapping, path.name, number)
            if isinstance(row, Problem):
                problems.append(row)
                continue
            example, found = parse_record(row, pictures, task, path.name, number)
            if example is not None and example.id in first_seen:
                found = (used_id(path.name, record_name(row, number), first_seen[example.id]),)
            problems += found
            if example is not None and not found:
                first_seen[example.id] = f"{path.name}, record {number}"
                examples.append(example)

    if problems and strict:
        raise RecordError(f"{len(problems)} problems in {folder}:\n{list_problems(problems)}")
    if not examples:
        why = list_problems(problems, 20) or f"  {', '.join(path.name for path in files[:5])} hold none"
        raise RecordError(f"no usable record in {folder}:\n{why}")
    return Records(tuple(examples), tuple(problems), aside)


def record_files(folder: Path) -> list[Path]:
    """The record files of a folder, or one folder below where there are none, or the file that is named."""
    if folder.is_file() and folder.suffix in ENDINGS:
        return [folder]
    kinds = ", ".join(f"*{ending}" for ending in ENDINGS)
    if is_pattern(str(folder)) and (files := [path for path in expanded(str(folder)) if path.suffix == TAR]):
        if missing := next((path for path in files if not path.is_file()), None):
            raise FileNotFoundError(f"data={folder}: {missing} does not exist; get it, or name those that are there")
        return files
    if not folder.is_dir():
        what = "is no record file" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"data folder {folder} {what}; name a file or a folder of records ({kinds})")
    files = sorted(path for path in folder.iterdir() if path.suffix in ENDINGS)
    files = files or sorted(path for path in folder.glob("*/*") if path.suffix in (".jsonl", ".parquet", TAR))
    if not files:
        there = Counter(path.suffix or "without an ending" for path in folder.iterdir() if path.is_file())
        listed = ", ".join(f"{count} {ending}" for ending, count in there.most_common(5))
        others = f"; it holds {listed}" if listed else ""
        raise FileNotFoundError(
            f"data folder {folder} holds no *.json (a list of records), *.jsonl (one a line), *.parquet or *.tar"
            f"{others}. Write your records so, or read a published data set once:\n  {_PREPARE.format(folder)}"
        )
    return files


def _not_read(folder: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """A note about files next to those that are read which seem to hold records as well."""
    if not folder.is_dir():
        return ()
    others = sorted(path.name for place in {path.parent for path in files} for path in place.iterdir()
                    if _RECORDS_ELSE.fullmatch(path.name) and path not in files)  # fmt: skip
    listed = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    kinds = ", ".join(f"*{ending}" for ending in ENDINGS)
    note = f"not read, since only {kinds} are: {listed}; convert or unpack them if they belong to it"
    return (note,) if others else ()


def kind_of_split(stem: str) -> str:
    """train, test or validation, where exactly one of them is a word of a file's name, else ""."""
    words = set(re.split(r"[^a-z]+", stem.lower()))
    kinds = [kind for kind, names in _WORDS.items() if words & names]
    return kinds[0] if len(kinds) == 1 else ""


def _of_split(files: list[Path], split: str, wanted: Sequence[str], folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The files to read, and a note about those that are left out. Training also reads files of no split."""
    names = {path: split_name(path.stem) for path in files}
    kinds = {path: kind_of_split(path.stem) for path in files}
    there = tuple(dict.fromkeys(kinds.values()))
    if split:
        chosen = [path for path in files if split in (kinds[path], names[path])]
        if not chosen:
            listed = ", ".join(dict.fromkeys(names.values()))
            raise ValueError(f"{folder} has no split {split!r}; it holds {listed}: {_NAME_ONE}")
        kind = split
    else:
        kind = next((kind for kind in wanted if kind in there), there[0] if len(there) == 1 else None)
        if kind is None:
            raise ValueError(f"{folder} holds the splits {', '.join(there)}: {_NAME_ONE}")
        both = (kind, "") if kind == TRAIN else (kind,)
        chosen = [path for path in files if kinds[path] in both]
    aside = ", ".join(path.name for path in files if path not in chosen)
    notes = [f"left aside, since {kind or 'what is of no'} split is read: {aside}"] if aside else []
    if not aside and kind and wanted[0] not in (kind, split):
        notes.append(f"note: these are records of split {kind}")
    return chosen, tuple(notes)


def _note(name: str, there: Sequence[str]) -> tuple[str, ...]:
    return (f"split {name} is read, of {', '.join(there)}",) if len(there) > 1 else ()


def _renamed(row: dict, mapping: Mapping[str, str], file: str, number: int) -> dict | Problem:
    try:
        return renamed(row, mapping)
    except ValueError as error:
        return Problem(file, record_name(row, number), "missing field", str(error))


def _rows(path: Path, mapping: Mapping[str, str]) -> Iterator[Row | tuple[int, object]]:
    if path.suffix == ".jsonl":
        return jsonl_rows(path, None)
    if path.suffix == ".parquet":
        return parquet_rows(path, None)
    if path.suffix == TAR:
        return tar_rows(path, None, mapping)
    records, wrong = load_list(path)
    return enumerate((*wrong, *records))
