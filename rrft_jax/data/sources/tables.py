"""A user's own JSON Lines or Parquet files, with the fields of `rrft_jax.data.records` and optionally `task`.

    FILE, or FOLDER with *.jsonl / *.parquet in it or one folder below

A file's name is its split; HuggingFace's train-00000-of-00002.parquet belongs to train. Paths of pictures start at the
file's folder, else at FOLDER. The image column of a Parquet file holds bytes, {"bytes", "path"} as HuggingFace writes
them, paths, or a list of these.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.data.pictures import Pictures
from rrft_jax.data.records import IMAGE_FOLDERS, Problem, parse_record, record_name
from rrft_jax.data.sources.common import Found, Item, Part, known_task, once, read_lines, split_name, unknown_task
from rrft_jax.files import check_regular

_NUMBERED = re.compile(r"[-_]\d+$")  # train-000.tar, one of several of a split

# One row: its number, and its record or what is wrong with it.
Row = tuple[int, dict | Problem]


def find_jsonl(folder: str | Path, task: str = "", image_root: str = "") -> Found:
    """task: of all records; without it each record names its own. image_root: where image paths start."""
    return find_tables(folder, "jsonl", jsonl_rows, task, image_root)


def find_parquet(folder: str | Path, task: str = "", image_root: str = "") -> Found:
    """As `find_jsonl`."""
    return find_tables(folder, "parquet", parquet_rows, task, image_root)


def find_tables(
    folder: str | Path, ending: str, read: Callable[..., Iterator[Row]], task: str, image_root: str,
    own: Callable[[Path], Pictures] | None = None,
) -> Found:  # fmt: skip
    """The parts of all files with this ending. read: the rows of one. own: where it holds its pictures itself."""
    folder = Path(folder).expanduser()
    files = [folder] if folder.is_file() else sorted(folder.glob(f"*.{ending}")) + sorted(folder.glob(f"*/*.{ending}"))
    if not files:
        raise FileNotFoundError(f"--input={folder} is no .{ending} file and no folder with one")
    folder = folder.parent if folder.is_file() else folder
    image_root = str(Path(image_root).expanduser()) if image_root else ""
    if image_root and not (folder / image_root).is_dir():
        raise FileNotFoundError(f"--image_root={folder / image_root} does not exist; it is relative to {folder}")
    pictures = {path: own(path) if own else pictures_for(path.parent, folder, image_root) for path in files}
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(split_name(_NUMBERED.sub("", path.stem) if own else path.stem), []).append(path)
    parts, problems = [], []
    for split, paths in groups.items():
        # One quick pass for the tasks that are there, and for the rows that belong to none.
        counts: dict[str, int] = {}
        for path in paths:
            for number, row in read(path, ("task", "id")):
                name = task or (known_task(row.get("task")) if isinstance(row, dict) else "")
                counts[name] = counts.get(name, 0) + 1
                if isinstance(row, Problem):
                    problems.append(row)
                elif not name:
                    said = row.get("task")
                    what = f"task {said!r} is unknown" if said else "has no task"
                    problems.append(unknown_task(path.name, record_name(row, number), what))
        for name in sorted(filter(None, counts)):
            items = partial(_items, read, tuple(paths), name, bool(task), pictures, frozenset(problems))
            parts.append(Part(name, split, counts[name], lambda items=items: once(items())))
    return Found(tuple(parts), tuple(problems))


def _items(
    read: Callable[..., Iterator[Row]],
    paths: tuple[Path, ...],
    task: str,
    all_rows: bool,
    pictures: Mapping[Path, Pictures],
    told: frozenset[Problem],
) -> Iterator[Item]:
    """told: problems that the quick pass reported; a damaged picture column shows only now."""
    for path in paths:
        for number, row in read(path, None):
            if isinstance(row, Problem):
                if row not in told:
                    yield (row,)
                continue
            if not (all_rows or known_task(row.get("task")) == task):
                continue
            example, problems = parse_record(row, pictures[path], task, path.name, number)
            yield example or problems


def pictures_for(own: Path, folder: Path, image_root: str) -> Pictures:
    """own: the folder that a file lies in, which is `folder` or one below it."""
    if image_root:
        return Pictures((folder / image_root,))
    return Pictures(tuple(dict.fromkeys(place / name for place in (own, folder) for name in IMAGE_FOLDERS)))


def jsonl_rows(path: Path, columns: tuple[str, ...] | None) -> Iterator[Row]:
    yield from read_lines(path, "id, image, problem and answer")


def parquet_rows(path: Path, columns: tuple[str, ...] | None) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        check_regular(path)
        table = pyarrow.parquet.ParquetFile(path)
        names = table.schema_arrow.names
        # Pictures are large: read the small columns alone where they suffice, and few rows at a time.
        wanted = [name for name in names if columns is None or name in columns]
        number = 0
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            yield 0, Problem(path.name, "", "repeated key", f"has two columns {twice[0]!r}; rename or remove one")
            return
        if not wanted:
            for number in range(table.metadata.num_rows):
                yield number, {}
            return
        for batch in table.iter_batches(batch_size=64, columns=wanted):
            for row in batch_rows(batch, path.name, number):
                yield number, row
                number += 1
    except (pyarrow.ArrowException, OSError) as error:
        message = f"not a readable Parquet file ({error}); write or get it again"
        yield 0, Problem(path.name, "", "bad Parquet", " ".join(message.split()))


def batch_rows(batch: Any, file: str, first: int) -> Iterator[dict | Problem]:
    """The rows of a batch, the first being number `first`."""
    import pyarrow

    columns = [_readable(column) for column in batch.columns]
    batch = pyarrow.RecordBatch.from_arrays(columns, batch.schema.names)
    for place in range(batch.num_rows):
        try:
            (row,) = batch.slice(place, 1).to_pylist()
        except (ValueError, OverflowError) as error:  # text that is not UTF-8, among others
            message = f"a value cannot be read ({error}); correct or remove the row"
            row = Problem(file, f"record {first + place}", "bad Parquet", " ".join(message.split()))
        yield row


def _readable(column: Any) -> Any:
    """Points in time as text, since not every one is a datetime; numbers of few bits as the decimals they stand for."""
    import pyarrow

    if pyarrow.types.is_temporal(column.type):
        return column.cast(pyarrow.string())
    if pyarrow.types.is_float16(column.type) or pyarrow.types.is_float32(column.type):
        return pyarrow.array([float(str(value)) for value in column.to_numpy(zero_copy_only=False)], pyarrow.float64())
    return column
