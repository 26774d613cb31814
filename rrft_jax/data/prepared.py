"""Opens a data set that launch/prepare_data.py wrote: its records without their pictures, each read when it is needed.

A row of the data set also holds the record's pictures, which are many times larger than its text. So
`records_<split>.jsonl`, next to the data, lists everything but the pictures, and a run starts without reading one.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.records import Problem, RecordError, Records, list_problems

SKIPPED = "skipped.jsonl"  # next to the data: what was left out when it was made, a problem a line
PICTURES = "images"  # the field of a row that its listing lacks
_FILES = ("dataset_info.json", "features.json")
_DEPTH = 3  # <source>/<task>/<version> below what --data_dir named


@dataclass(frozen=True)
class PreparedPicture:
    """One picture, stored in a row of the split. key: the same for equal pictures. height, width: in pixels."""

    rows: Any = field(repr=False, compare=False)
    row: int
    place: int
    name: str
    key: str
    height: int
    width: int

    def __str__(self) -> str:
        return self.name

    def read(self) -> bytes:
        """The PNG or JPEG. Raises OSError where the data set is damaged."""
        return _get(self.rows, self.row)[PICTURES][self.place]


def listing_file(folder: str | Path, split: str) -> Path:
    """The file that holds, a line per row of the split, the row without its pictures as JSON."""
    return Path(folder) / f"records_{split}.jsonl"


def open_prepared(folder: str | Path, split: str) -> tuple[Example, ...]:
    """The examples of one split in the order of the data set, without their pixels. folder: holds dataset_info.json.

    Raises ValueError that lists the splits there are, RecordError where the listing of the records is not that of the
    data.
    """
    builder = _builder(folder)
    if split not in builder.info.splits:
        there = ", ".join(sorted(builder.info.splits))
        raise ValueError(f"{folder} has no split {split!r}; it holds {there}: set config.data.split")
    return _listed(listing_file(folder, split), builder.as_data_source(split=split, decoders={PICTURES: _encoded()}))


def prepared_splits(folder: str | Path) -> tuple[str, ...]:
    """The names of the splits of a prepared data set."""
    return tuple(sorted(_builder(folder).info.splits))


def find_prepared(folder: str | Path, task: str = "") -> Path | None:
    """The prepared data set at `folder`, or the only one of `task` below it; None where there is none.

    Raises ValueError where several could be meant, or where the one there is of another task.
    """
    folder = Path(folder).expanduser()
    if _is_prepared(folder):
        found = [folder]
    elif any(folder.glob("*.json")):  # lists of records: do not look through the folders of their pictures
        return None
    else:
        levels = ["/".join(["*"] * depth) for depth in range(1, _DEPTH + 1)]
        infos = [path for level in levels for path in sorted(folder.glob(f"{level}/{_FILES[0]}"))]
        found = [path.parent for path in infos if _is_prepared(path.parent)]
    if not found:
        return None
    fitting = [place for place in found if not task or prepared_task(place) == task]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"{place} ({prepared_task(place)})" for place in found)
    if not fitting:
        raise ValueError(f"data folder {folder} is prepared for another task than {task}: {listed}; set config.task")
    raise ValueError(f"data folder {folder} holds several prepared data sets: {listed}; name one of them")


def read_prepared(folder: str | Path, task: str, split: str = "train", strict: bool = False) -> Records:
    """The split's examples in order, and as problems the records left out when it was made; no picture is read.

    strict: raise a RecordError that lists the latter. RecordError also where an example is of another task.
    """
    folder = Path(folder)
    examples = open_prepared(folder, split)
    wrong = next((e for e in examples if e.task != task), None)
    if wrong is not None:
        raise RecordError(f"{folder}: example {wrong.id} is of {wrong.task}, not of {task}; set config.task")
    problems = _left_out(folder, split)
    if problems and strict:
        said = list_problems(problems, 20)
        raise RecordError(f"{len(problems)} problems when {folder} was prepared; correct them there:\n{said}")
    return Records(examples, problems)


def _builder(folder: str | Path) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(str(folder))


def _left_out(folder: Path, split: str) -> tuple[Problem, ...]:
    path = folder / SKIPPED
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    values = [json.loads(line) for line in lines]
    return tuple(Problem(**value) for value in values if value.pop("split") in ("", split))


def _is_prepared(folder: Path) -> bool:
    # LLaMA-Factory has a dataset_info.json too, but no features.json. A killed preparation may leave both behind.
    return not folder.name.startswith("incomplete.") and all((folder / name).is_file() for name in _FILES)


def prepared_task(folder: Path) -> str:
    """The task that a prepared data set is of."""
    return json.loads((folder / _FILES[0]).read_text(encoding="utf-8")).get("configName", "")


def _listed(path: Path, rows: Any) -> tuple[Example, ...]:
    again = "prepare the data again, with --overwrite"
    if not path.is_file():
        raise RecordError(f"{path} is missing, which lists the records without their pictures; {again}")
    try:
        with path.open(encoding="utf-8") as lines:  # a JSON text holds no other end of a line than the one that ends it
            examples = tuple(_example(json.loads(line), rows) for line in lines)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} is damaged ({error!r}); {again}") from error
    if len(examples) != len(rows):
        raise RecordError(f"{path} lists {len(examples)} records of the {len(rows)} there are; {again}")
    return examples


def _example(row: dict[str, Any], rows: Any) -> Example:
    names = ("image_rows", "image_places", "image_names", "image_keys", "heights", "widths")
    images = tuple(PreparedPicture(rows, *values) for values in zip(*(row[name] for name in names), strict=True))
    id, task, problem, answer = (row[name] for name in ("id", "task", "problem", "answer"))
    # Data sets of earlier versions have no conversations.
    system, reply = (row.get(name) or None for name in ("system", "reply"))
    history = tuple((role, text) for role, text in json.loads(row.get("history") or "[]"))
    metadata = json.loads(row["metadata"])
    return Example(id, task, problem, answer, images, row["cot"] or None, metadata, system, history, reply)


def _get(rows: Any, index: int) -> dict[str, Any]:
    try:
        return rows[index]
    except Exception as error:  # array_record raises bare exceptions and RuntimeError
        raise OSError(f"record {index} cannot be read ({error}); prepare the data again") from error


def _encoded() -> Any:
    """A decoder that hands out the stored bytes: tensorflow-datasets' own skips need TensorFlow for lists of images."""
    import tensorflow_datasets as tfds

    class Encoded(tfds.decode.Decoder):
        def decode_example(self, serialized_example: Any) -> Any:
            return serialized_example

        def decode_batch_example_np(self, serialized_example: Any) -> list:
            return list(serialized_example)

    return Encoded()
