"""Predictions on disk: one line per question, written as soon as it is answered, so that nothing is asked twice."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.files import write_atomic

ABOUT = "about.json"


class Predictions:
    """The file `<name>.jsonl` of a folder; a context manager.

    records: what is there already, by id. A last line that a kill cut short is removed, and its question asked again.
    """

    def __init__(self, folder: Path, name: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.jsonl"
        self.records: dict[str, dict[str, Any]] = {}
        whole = _whole_lines(self.path)
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = json.loads(line)
                self.records[record["id"]] = record
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{self.path}, line {number}: no prediction; remove the line, or the file") from None
        self._file = open(self.path, "ab")
        self._file.truncate(len(whole))

    def add(self, record: Mapping[str, Any]) -> None:
        """record: JSON values, with an "id" that is not there yet."""
        if record["id"] in self.records:
            raise ValueError(f"{self.path}: {record['id']} was answered already")
        self.records[record["id"]] = dict(record)
        # A served model's text may hold half a surrogate pair, which UTF-8 cannot; json.loads takes it back from bytes.
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")
        self._file.write(line + b"\n")
        self._file.flush()

    def __enter__(self) -> "Predictions":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def predictions_of(folder: Path, name: str, examples: Sequence[Example]) -> Predictions:
    """The file, whose records are of these examples: ValueError where it has one of them with another text or
    reference."""
    store = Predictions(folder, name)
    for example in examples:
        there = store.records.get(example.id)
        if there is not None and (there.get("problem"), there.get("gold")) != (example.problem, example.answer):
            raise ValueError(
                f"{store.path}: {example.id} was answered when it was another question (the data have changed since): "
                "give another folder, or remove this file"
            )
    return store


def same_evaluation(folder: Path, about: Mapping[str, Any], flag: str = "--output=") -> None:
    """Writes what makes this evaluation into a new folder, or checks that the folder's is the same. flag: what stands
    in front of the folder in errors.

    ValueError lists the differences: predictions of two models or two decodings must not mix. A folder without any
    takes the new description: a command that was refused must not stand in the way of the one that corrects it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ABOUT
    content = (json.dumps(about, indent=1) + "\n").encode()
    about = json.loads(content)
    if not file.exists():
        others = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
        if others:
            raise ValueError(
                f"{flag}{folder} holds {', '.join(others[:5])} and no evaluation: give an empty or a new folder"
            )
        write_atomic(file, content)
        return
    try:
        there = dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is damaged ({error}): give another folder, or remove this one") from None
    differing = [key for key in {**there, **about} if there.get(key) != about.get(key)]
    if differing and not any(p.stat().st_size for p in folder.glob("*.jsonl")):
        write_atomic(file, content)
    elif differing:
        lines = "".join(f"\n  {key}: {there.get(key)!r} -> {about.get(key)!r}" for key in differing)
        raise ValueError(
            f"{flag}{folder} holds another evaluation; give another folder, remove this one, or restore:{lines}"
        )


def fingerprint(*directories: Path) -> str:
    """A digest of the weights in directories, from 256 places of each safetensors file: that of another training at the
    same path is another one."""
    digest = hashlib.sha256()
    for file in sorted(path for directory in directories for path in Path(directory).glob("*.safetensors")):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with open(file, "rb") as data:
            for place in range(256):
                data.seek(place * size // 256)
                digest.update(data.read(4096))
    return digest.hexdigest()[:16]


def _whole_lines(path: Path) -> bytes:
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]
