"""Opens a data set that launch/prepare_data.py wrote: Examples at random places, pictures read when they are needed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.records import Problem, RecordError, Records, list_problems

SKIPPED = "skipped.jsonl"  # beside the data: what was left out when it was made, a problem a line
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

    def __str__(self):
        return self.name

    def read(self) -> bytes:
        """The PNG or JPEG. Raises OSError where the data set is damaged."""
        return _get(self.rows, self.row)["images"][self.place]


class PreparedExamples(Sequence):
    """The examples of one split, each read when it is asked for; order and length are those of the data set."""

    def __init__(self, folder, split: str):
        """folder: holds dataset_info.json. Raises ValueError that lists the splits there are."""
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(str(folder))
        if split not in builder.info.splits:
            there = ", ".join(sorted(builder.info.splits))
            raise ValueError(f"{folder} has no split {split!r}; it holds {there}: set config.data.split")
        self._rows = builder.as_data_source(split=split, decoders={"images": _encoded()})

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # IndexError beyond the end, and counting from it
        row = _get(self._rows, index)
        names, keys = (_texts(row[name]) for name in ("image_names", "image_keys"))
        numbers = (map(int, row[name]) for name in ("image_rows", "image_places", "heights", "widths"))
        images = tuple(
            PreparedPicture(self._rows, at, place, name, key, height, width)
            for name, key, at, place, height, width in zip(names, keys, *numbers, strict=True)
        )
        id, task, problem, answer, cot, metadata = _texts(
            row[name] for name in ("id", "task", "problem", "answer", "cot", "metadata")
        )
        return Example(id, task, problem, answer, images, cot or None, json.loads(metadata))


def find_prepared(folder, task: str = "") -> Path | None:
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
    fitting = [place for place in found if not task or _task(place) == task]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"{place} ({_task(place)})" for place in found)
    if not fitting:
        raise ValueError(f"data folder {folder} is prepared for another task than {task}: {listed}; set config.task")
    raise ValueError(f"data folder {folder} holds several prepared data sets: {listed}; name one of them")


def read_prepared(folder, task: str, split: str = "train", strict: bool = False) -> Records:
    """The split's examples in order, without their pixels, and as problems what had been left out when it was made.

    strict: raise a RecordError that lists the latter. RecordError also where an example is of another task.
    """
    folder = Path(folder)
    examples = tuple(PreparedExamples(folder, split))
    wrong = next((e for e in examples if e.task != task), None)
    if wrong is not None:
        raise RecordError(f"{folder}: example {wrong.id} is of {wrong.task}, not of {task}; set config.task")
    problems = _left_out(folder, split)
    if problems and strict:
        said = list_problems(problems, 20)
        raise RecordError(f"{len(problems)} problems when {folder} was prepared; correct them there:\n{said}")
    return Records(examples, problems)


def _left_out(folder: Path, split: str) -> tuple[Problem, ...]:
    path = folder / SKIPPED
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    values = [json.loads(line) for line in lines]
    return tuple(Problem(**value) for value in values if value.pop("split") in ("", split))


def _is_prepared(folder: Path) -> bool:
    # LLaMA-Factory has a dataset_info.json too, but no features.json. A killed preparation may leave both behind.
    return not folder.name.startswith("incomplete.") and all((folder / name).is_file() for name in _FILES)


def _task(folder: Path) -> str:
    return json.loads((folder / _FILES[0]).read_text(encoding="utf-8")).get("configName", "")


def _get(rows, index: int) -> dict[str, Any]:
    try:
        return rows[index]
    except Exception as error:  # array_record raises bare exceptions and RuntimeError
        raise OSError(f"record {index} cannot be read ({error}); prepare the data again") from error


def _texts(values) -> list[str]:
    return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]


def _encoded():
    """A decoder that hands out the stored bytes: tensorflow-datasets' own skips need TensorFlow for lists of images."""
    import tensorflow_datasets as tfds

    class Encoded(tfds.decode.Decoder):
        def decode_example(self, serialized_example):
            return serialized_example

        def decode_batch_example_np(self, serialized_example):
            return list(serialized_example)

    return Encoded()
