"""Reader of the Reason-RFT JSON layout: a folder with JSON lists of records, and the images they name.

A record is an object with
    id        a name that is unique in the folder
    image     (or images) a path, a list of paths, or {"path": ...}; [] says that the question has no image
    problem   the question, without a prompt template
    answer    or solution (the same text; <answer> tags around it are removed)
    cot       optional reasoning that leads to the answer
and whatever else it likes, which goes to `Example.metadata`. Image files are looked for, not opened.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.pictures import BytesPicture, Pictures

IMAGE_FOLDERS = ("", "images", "train_images")
_FIELDS = frozenset({"id", "image", "images", "problem", "answer", "solution", "cot"})
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_HALF = re.compile("[\ud800-\udfff]")
_EXACT = 2**53  # below it a float64 says which whole number is meant
_LONGEST_NAME = 1000  # of a picture; what is longer is a picture in text


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one record: where, what kind, what to do about it."""

    file: str
    record: str
    kind: str
    message: str

    def __str__(self):
        where = f"{self.file}, {self.record}" if self.record else self.file
        return f"{where}: {self.message}"


@dataclass(frozen=True)
class Records:
    """What a folder holds: its good records in file order, and what was wrong with the others."""

    examples: tuple[Example, ...]
    problems: tuple[Problem, ...]

    def report(self, limit: int = 20) -> str:
        """How many records were read and skipped, by kind, and the first `limit` problems."""
        head = f"{len(self.examples)} records read, {len({(p.file, p.record) for p in self.problems})} skipped"
        if not self.problems:
            return head
        kinds = Counter(p.kind for p in self.problems)
        counts = ", ".join(f"{kind}: {n}" for kind, n in kinds.most_common())
        return f"{head} ({counts})\n{list_problems(self.problems, limit)}"


class RecordError(ValueError):
    """Records that cannot be used; its text lists them."""


def list_problems(problems, limit: int | None = None) -> str:
    """One problem a line, the first `limit` of them, and how many more there are."""
    lines = [f"  {p}" for p in problems[:limit]]
    if limit is not None and len(problems) > limit:
        lines.append(f"  ... and {len(problems) - limit} more")
    return "\n".join(lines)


def read_records(folder, task: str = "", image_root=None, strict: bool = False) -> Records:
    """Reads every *.json file of `folder` (not of its subfolders), in the order of their names.

    task: what `Example.task` becomes.
    image_root: where image paths start, absolute or relative to `folder`; by default each path is tried under
        the folder itself, its images/ and its train_images/.
    strict: raise a RecordError that lists every problem, instead of skipping the records that have one.
    Raises FileNotFoundError for a missing folder or image root, RecordError where no record is left.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"data folder {folder} does not exist; name a folder that holds *.json record lists")
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"data folder {folder} holds no *.json file; each must be a list of records")
    if image_root is not None:
        pictures = Pictures((folder / Path(image_root).expanduser(),))
        if not pictures.roots[0].is_dir():
            missing = f"image root {pictures.roots[0]} does not exist"
            raise FileNotFoundError(f"{missing}; it is absolute or relative to {folder}")
    else:
        pictures = Pictures(tuple(folder / name for name in IMAGE_FOLDERS))

    examples, problems, first_seen = [], [], {}
    for path in files:
        records, wrong = load_list(path)
        problems += wrong
        for number, record in enumerate(records):
            example, found = parse_record(record, pictures, task, path.name, number)
            if not found and example.id in first_seen:
                found = [used_id(path.name, record_name(record, number), first_seen[example.id])]
            problems += found
            if not found:
                first_seen[example.id] = f"{path.name}, record {number}"
                examples.append(example)

    if problems and strict:
        raise RecordError(f"{len(problems)} problems in {folder}:\n{list_problems(problems)}")
    if not examples:
        raise RecordError(f"no usable record in {folder}:\n{list_problems(problems, 20)}")
    return Records(tuple(examples), tuple(problems))


def load_list(path: Path) -> tuple[list, tuple[Problem, ...]]:
    """The records of a JSON file, or none and what is wrong with the file as a whole."""
    records, wrong = read_json(path, path.name, "correct or remove the file")
    if wrong:
        return [], wrong
    if not isinstance(records, list):
        message = f"holds {kind_of(records)} where a list of records belongs; wrap the records in [ ... ]"
        return [], (Problem(path.name, "", "wrong type", message),)
    return records, ()


def read_json(path: Path, file: str, remedy: str) -> tuple[Any, tuple[Problem, ...]]:
    """The value of a JSON file, or None and what is wrong with it. file: what reports call it; remedy: what to do."""
    try:
        return parse_json(path.read_bytes()), ()
    except OSError as error:
        message = f"cannot be read ({error.strerror or error})"
    except ValueError as error:
        message = str(error)
    return None, (Problem(file, "", "bad JSON", f"{message}; {remedy}"),)


def parse_json(text: bytes, line: int = 0) -> Any:
    """The value of a JSON text whose first line is number `line` + 1. ValueError says what is wrong, and where."""
    try:
        return json.loads(text.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno}, column {error.colno}"
        raise ValueError(f"not valid JSON at {where} ({error.msg})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text at byte {error.start} ({error.reason})") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of open brackets
        raise ValueError(f"not JSON that can be read ({str(error).partition(';')[0]})") from None


def parse_record(
    record: Any, pictures: Pictures, task: str, file: str, number: int
) -> tuple[Example | None, tuple[Problem, ...]]:
    """The Example of one record, or None with every problem it has. `pictures` finds the images it names."""
    found: list[tuple[str, str]] = []
    if isinstance(record, dict):
        id = _text(record, "id", found, numbers=True)
        problem = _text(record, "problem", found)
        answer = _answer(record, found)
        images = _images(record, pictures, found)
        cot = record.get("cot")
        if cot is not None and not isinstance(cot, str):
            found.append(("wrong type", f"cot is {kind_of(cot)}; make it a string or leave it out"))
        elif cot:
            _half_character(cot, "cot", found)
    else:
        message = f"is {kind_of(record)} where an object with id, image, problem and answer belongs"
        found.append(("wrong type", message))
    if found:
        name = record_name(record, number)
        return None, tuple(Problem(file, name, kind, message) for kind, message in found)
    metadata = {k: v for k, v in record.items() if k not in _FIELDS}
    metadata |= {"file": file, "record": number}
    return Example(id, task, problem, answer, images, cot if cot and cot.strip() else None, metadata), ()


def used_id(file: str, record: str, first: str) -> Problem:
    """The problem of a record whose id another one has already."""
    return Problem(file, record, "duplicate id", f"id is already used by {first}; give each record its own")


def _text(record, field: str, found: list, numbers: bool = False) -> str:
    """A field that must hold text; with `numbers`, a number counts as its text, a whole one without ".0"."""
    if field not in record:
        found.append(("missing field", f"has no {field}; add it"))
        return ""
    value = record[field]
    if numbers and isinstance(value, int | float) and not isinstance(value, bool):
        # A column of whole numbers with a gap in it is stored as floating-point numbers by most tools.
        whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
        value = str(int(value) if whole else value)
    if not isinstance(value, str):
        found.append(("wrong type", f"{field} is {kind_of(value)}; make it a string"))
        return ""
    if not value.strip():
        found.append((f"empty {field}", f"{field} is empty; fill it in or remove the record"))
    _half_character(value, field, found)
    return value


def _half_character(text: str, field: str, found: list) -> bool:
    """Whether there is one: JSON may hold half of an escaped pair (\\ud83d\\ude00), which UTF-8 cannot."""
    half = _HALF.search(text)
    if half:
        message = f"{field} holds half of a character, {half.group()!r} at place {half.start()}; correct the escape"
        found.append(("bad JSON", message))
    return half is not None


def _answer(record, found: list) -> str:
    fields = [f for f in ("answer", "solution") if f in record]
    if not fields:
        found.append(("missing field", "has neither answer nor solution; add one"))
        return ""
    texts = {}
    for field in fields:
        before = len(found)
        text = _text(record, field, found, numbers=True)
        tagged = _ANSWER.search(text)
        texts[field] = (tagged.group(1) if tagged else text).strip()
        if len(found) == before and not texts[field]:
            found.append(("empty answer", f"{field} is empty between its tags; fill it in or remove the record"))
    if all(texts.values()) and len(set(texts.values())) > 1:
        both = f"answer {texts['answer']!r} and solution {texts['solution']!r}"
        found.append(("contradiction", f"{both} differ; keep the right one"))
    return texts[fields[0]]


def _images(record, pictures: Pictures, found: list) -> tuple:
    field = "image" if "image" in record or "images" not in record else "images"
    if field not in record:
        found.append(("missing field", "has no image; add it ([] for a question without one)"))
        return ()
    entries = record[field] if isinstance(record[field], list) else [record[field]]
    images = []
    for place, entry in enumerate(entries):
        data, name = (entry.get("bytes"), entry.get("path")) if isinstance(entry, dict) else (None, entry)
        if isinstance(name, bytes):  # a plain binary column
            data, name = name, None
        if data and not isinstance(data, bytes):
            message = f"{field} has bytes that are {kind_of(data)}; save the picture as a file and give its path"
            found.append(("wrong type", message))
            continue
        if data:
            images.append(BytesPicture(data, name if isinstance(name, str) and name else f"image {place}"))
            continue
        if not isinstance(name, str) or not name:
            message = f"{field} is {kind_of(entry)}; make it a path, a list of paths or an object with a path"
            found.append(("wrong type", message))
            continue
        if len(name) > _LONGEST_NAME:
            message = f"{field} is a text of {len(name)} characters; save the picture as a file and give its path"
            found.append(("wrong type", message))
            continue
        if _half_character(name, field, found):
            continue
        image = pictures.find(name)
        if image is None:
            message = f"image {name!r} is not at {pictures.tried(name)}; restore it or set the image root"
            found.append(("missing image", message))
        else:
            images.append(image)
    return tuple(images)


def record_name(record: Any, number: int) -> str:
    """How a report calls a record: its number in the file and, where it has one, its id."""
    id = record.get("id") if isinstance(record, dict) else None
    return f"record {number}" + (f" (id {id!r})" if isinstance(id, str | int) and str(id) else "")


def kind_of(value: Any) -> str:
    """A JSON value's type in words."""
    if value is None:
        return "null"
    if value == "":
        return "an empty string"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
