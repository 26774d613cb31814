"""One record of a data set as an Example, or everything that is wrong with it.

A record is an object with
    id        a name that is unique in the folder
    image     (or images) a path, a list of paths, or {"path": ...}; [] says that the question has no image
    problem   the question, without a prompt template; <image> in it, once for each image, says where they go
    answer    or solution (the same text; <answer> tags around it are removed)
    cot       optional reasoning that leads to the answer; <think> and <answer> tags in it are removed, and an answer in
              them must be the record's
    system    optional text of the system
and any other fields, which go to `Example.metadata`. In place of problem, answer and cot it may hold a
conversation (`conversations`). A value that is null or not finite counts as missing. The reader checks that image
files exist and does not open them.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from rrft_jax.answers.choices import choice_reference
from rrft_jax.answers.compare import decide
from rrft_jax.answers.tags import reference_answer, split_thought
from rrft_jax.data import conversations
from rrft_jax.data.conversations import Conversation, Found
from rrft_jax.data.example import IMAGE_MARK, Example
from rrft_jax.data.pictures import BytesPicture, Pictures
from rrft_jax.data.values import (
    blank,
    half_character,
    kind_of,
    missing,
    missing_text,
    number_text,
    parse_records,
    repeated_key,
)
from rrft_jax.files import check_regular

IMAGE_FOLDERS = ("", "images", "train_images")
_FIELDS = frozenset({"id", "image", "images", "problem", "answer", "solution", "cot", "system"})
_MARKED_OPTIONS = re.compile(r"\bB[.):]\s")
_UNREAD = ("video", "videos", "audio", "audios", "tools")  # what a model is shown besides pictures and texts
# Marks of other projects, which would stay in the text.
_FOREIGN_MARK = re.compile(
    r"<\|?(?:image|video|audio|vision)[ _-]?(?:\d+|pad|start|end|token|here|placeholder)?\|?>", re.IGNORECASE
)
_QWEN_MARK = "<|vision_start|><|image_pad|><|vision_end|>"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|data:[a-z]+/", re.IGNORECASE)  # nothing is downloaded
_LONGEST_NAME = 1000  # of a picture; what is longer is a picture in text


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one record: where, what kind, what to do about it."""

    file: str
    record: str
    kind: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}, {self.record}" if self.record else self.file
        return f"{where}: {self.message}"


@dataclass(frozen=True)
class Records:
    """What a folder holds: its good records in file order, and what was wrong with the others."""

    examples: tuple[Example, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()  # what else the user should know, such as files that were left aside

    def report(self, limit: int = 20) -> str:
        """How many records were read and skipped, by kind, and the first `limit` problems."""
        head = f"{len(self.examples)} records read, {len({(p.file, p.record) for p in self.problems})} skipped"
        if self.problems:
            kinds = Counter(p.kind for p in self.problems)
            counts = ", ".join(f"{kind}: {n}" for kind, n in kinds.most_common())
            head = f"{head} ({counts})\n{list_problems(self.problems, limit)}"
        return "\n".join((head, *self.notes))


class RecordError(ValueError):
    """Records that cannot be used; its text lists them."""


def list_problems(problems: Sequence[Problem], limit: int | None = None) -> str:
    """One line for the records of a file with the same problem, the first `limit` of these, and how many more there
    are."""
    records: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        records.setdefault((problem.file, problem.message), []).append(problem.record)
    lines = []
    for (file, message), names in list(records.items())[:limit]:
        rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(f"  {', '.join(filter(None, [file, *names[:3]]))}{rest}: {message}")
    if limit is not None and len(records) > limit:
        lines.append(f"  ... and {sum(map(len, list(records.values())[limit:]))} more")
    return "\n".join(lines)


def load_list(path: Path) -> tuple[list, tuple[Problem, ...]]:
    """The records of a JSON file, or none and what is wrong with the file as a whole."""
    records, wrong = read_json(path, path.name, "correct or remove the file", mark=True)
    if wrong and "(Extra data)" in wrong[0].message:  # a value a line
        message = wrong[0].message.replace("correct", "name it .jsonl if it holds a record a line, else correct")
        return [], (replace(wrong[0], message=message),)
    if wrong:
        return [], wrong
    if not isinstance(records, list):
        message = f"holds {kind_of(records)} where a list of records belongs; wrap the records in [ ... ]"
        return [], (Problem(path.name, "", "wrong type", message),)
    return records, ()


def read_json(path: Path, file: str, remedy: str, mark: bool = False) -> tuple[Any, tuple[Problem, ...]]:
    """The value of a JSON file, or None and what is wrong with it. file: what reports call it; remedy: what to do;
    mark: `parse_records`."""
    try:
        check_regular(path)
        return parse_records(path.read_bytes(), mark=mark), ()
    except OSError as error:
        message = f"cannot be read ({error.strerror or error})"
    except ValueError as error:
        message = str(error)
    return None, (Problem(file, "", "bad JSON", f"{message}; {remedy}"),)


def parse_record(
    record: Any, pictures: Pictures, task: str, file: str, number: int
) -> tuple[Example | None, tuple[Problem, ...]]:
    """The Example of one record, or None with every problem it has. `pictures` finds the images it names."""
    found: Found = []
    example = None
    if not isinstance(record, dict):
        found.append(("wrong type", f"is {kind_of(record)} where an object with id, image, problem and answer belongs"))
    elif (key := repeated_key(record)) is not None:
        found.append(("repeated key", f"has the key {key!r} twice in one object; keep the right one"))
    else:
        example = _example(record, pictures, task, file, number, found)
    if found:
        name = record_name(record, number)
        return None, tuple(Problem(file, name, kind, message) for kind, message in found)
    return example, ()


def _example(record: dict, pictures: Pictures, task: str, file: str, number: int, found: Found) -> Example:
    """Appends every problem to `found`; the result is meaningless if there is one."""
    talks = conversations.is_conversation(record)
    known = _FIELDS | set(conversations.FIELDS if talks else ())
    metadata = {k: v for k, v in record.items() if k not in known and not missing(v)}
    metadata |= {"file": file, "record": number}
    spoken = Conversation("")
    if talks:
        spoken = conversations.read_conversation(record, found) or spoken
        if found:
            return Example("", task, "", "")
        record = _merged(record, spoken, f"{Path(file).stem}-{number:06d}", found)
    id = _text(record, "id", found, numbers=True)
    problem = _text(record, "problem", found).replace(_QWEN_MARK, IMAGE_MARK)
    answer = _answer(record, found, ", and its conversation ends with the user" if talks else "")
    images = _images(record, spoken.pictures, pictures, found)
    system = _optional(record, "system", found)
    cot = _thought(record, problem, answer, found)
    said = record.get("history")
    if isinstance(said, list) and any(isinstance(turn, list | dict) for turn in said):  # LLaMA-Factory's pairs
        message = "has turns in history, which are not read there; write the whole conversation into messages"
        found.append(("not read", message))
    for field in _UNREAD:
        if not missing(record.get(field)) and record[field] not in ("", [], {}):
            found.append(("not read", f"has {field}, which is not read here; remove it, or the record"))
    history = tuple((role, text.replace(_QWEN_MARK, IMAGE_MARK)) for role, text in spoken.history)
    for text in (*(text for _, text in history), spoken.reply or ""):
        if half := half_character(text):
            found.append(("bad JSON", f"a turn holds {half}; correct the escape"))
    for text in (problem, answer, cot or "", *(text for _, text in history), spoken.reply or ""):
        strange = next((mark for mark in _FOREIGN_MARK.findall(text) if mark != IMAGE_MARK), None)
        if strange:
            found.append(("wrong marks", f"holds {strange}, no mark here; write {IMAGE_MARK} where a picture goes"))
    for name, text in (("answer", answer), ("cot", cot or "")):
        if IMAGE_MARK in text:
            found.append(("wrong marks", f"{name} holds {IMAGE_MARK}, and only a question can hold a picture"))
    if not found:
        problem, history = conversations.place_pictures(problem, history, len(images), found)
        if blank(problem) or missing_text(problem):
            message = f"problem is {problem!r} but for {IMAGE_MARK}; fill it in or remove the record"
            found.append(("empty problem", message))
    return Example(id, task, problem, answer, images, cot, metadata, system, history, spoken.reply)


def _merged(record: dict, spoken: Conversation, id: str, found: Found) -> dict:
    """The record with what its conversation says as fields, and `id` where it has none, as published ones have."""
    said = {"problem": spoken.problem, "answer": spoken.answer, "cot": spoken.cot, "system": spoken.system}
    merged = {k: v for k, v in record.items() if not missing(v)}
    if isinstance(merged.get("prompt"), list):
        merged.pop("prompt")
    for name, text in said.items():
        if text is None:
            continue
        own = merged.get("solution" if name == "answer" and "answer" not in merged else name)
        own = reference_answer(own) if name == "answer" and isinstance(own, str) else own
        if own not in (None, "") and _plain(own) != _plain(text):
            found.append(("contradiction", f"its field {name} and its conversation differ; keep the right one"))
        merged[name] = text
    return {"id": id} | merged


def _plain(text: Any) -> str:
    return str(text).replace(IMAGE_MARK, "").strip()


def used_id(file: str, record: str, first: str) -> Problem:
    """The problem of a record whose id another one has already."""
    return Problem(file, record, "duplicate id", f"id is already used by {first}; give each record its own")


def _text(record: dict, field: str, found: Found, numbers: bool = False) -> str:
    """A field that must hold text; with `numbers`, a number counts as its text, a whole one without ".0"."""
    value = record.get(field)
    if missing(value):
        found.append(("missing field", f"has no {field}{_instead(record, field)}; add it or remove the record"))
        return ""
    if numbers and isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = number_text(value)
    if not isinstance(value, str):
        found.append(("wrong type", f"{field} is {kind_of(value)}; make it a string"))
        return ""
    if blank(value):
        found.append((f"empty {field}", f"{field} is empty; fill it in or remove the record"))
    elif missing_text(value):
        found.append(("missing field", f"{field} is {value!r}, as tables write what is missing; fill it in"))
    if half := half_character(value):
        found.append(("bad JSON", f"{field} holds {half}; correct the escape"))
    return value


def _instead(record: dict, *fields: str) -> str:
    said = [f"{field} is {kind_of(record[field])}" for field in fields if field in record]
    return f" ({', '.join(said)})" if said else ""


def _optional(record: dict, field: str, found: Found) -> str | None:
    text = record.get(field)
    if missing(text) or isinstance(text, str) and (not text.strip() or missing_text(text)):
        return None
    if not isinstance(text, str):
        found.append(("wrong type", f"{field} is {kind_of(text)}; make it a string or leave it out"))
        return None
    if half := half_character(text):
        found.append(("bad JSON", f"{field} holds {half}; correct the escape"))
    return text


def _thought(record: dict, problem: str, answer: str, found: Found) -> str | None:
    """The field cot without tags, and without the answer in them, which must be the record's own."""
    text = _optional(record, "cot", found)
    if text is None:
        return None
    thought, said = split_thought(text)
    if said and answer and _differ(said.text, answer, _MARKED_OPTIONS.search(problem) is not None):
        both = f"cot ends in the answer {said.text!r} and answer is {answer!r}"
        found.append(("contradiction", f"{both}; keep the right one"))
    return thought if thought.strip() else None


def _differ(said: str, answer: str, has_options: bool) -> bool:
    """Whether two answers are not the same. Where a question lists options, a letter may stand for a text."""
    if has_options and (choice_reference(said) is None) != (choice_reference(answer) is None):
        return False
    return decide(said, answer) is False and decide(answer, said) is False


def _answer(record: dict, found: Found, why: str = "") -> str:
    fields = [f for f in ("answer", "solution") if not missing(record.get(f))]
    if not fields:
        said = _instead(record, "answer", "solution") + why
        found.append(("missing field", f"has neither answer nor solution{said}; add one or remove the record"))
        return ""
    texts = {}
    for field in fields:
        before = len(found)
        text = _text(record, field, found, numbers=True)
        texts[field] = reference_answer(text)
        if len(found) == before and blank(texts[field]):
            found.append(("empty answer", f"{field} is empty between its tags; fill it in or remove the record"))
        elif len(found) == before and missing_text(texts[field]):
            found.append(("missing field", f"{field} is {texts[field]!r}, as tables write what is missing; fill it in"))
    if all(texts.values()) and len(set(texts.values())) > 1:
        both = f"answer {texts['answer']!r} and solution {texts['solution']!r}"
        found.append(("contradiction", f"{both} differ; keep the right one"))
    return texts[fields[0]]


def _images(record: dict, spoken: tuple, pictures: Pictures, found: Found) -> tuple:
    """Those of the field image or images, or `spoken`: those that the turns of a conversation name."""
    named = {f: record[f] if isinstance(record[f], list) else [record[f]] for f in ("image", "images")
             if not missing(record.get(f))}  # fmt: skip
    if spoken:
        named["turns"] = list(spoken)
    given = {field: entries for field, entries in named.items() if entries} or dict(list(named.items())[:1])
    if not given:
        said = _instead(record, "image", "images")
        found.append(("missing field", f"has no image{said}; add it ([] for a question without one)"))
        return ()
    (field, entries), *others = given.items()
    for other, more in others:
        if more != entries:
            found.append(("contradiction", f"its {field} and its {other} name different pictures; keep the right one"))
    images = (_image(field, entry, place, pictures, found) for place, entry in enumerate(entries))
    return tuple(image for image in images if image is not None)


def _image(field: str, entry: Any, place: int, pictures: Pictures, found: Found) -> Any:
    data, name = (entry.get("bytes"), entry.get("path")) if isinstance(entry, dict) else (None, entry)
    if isinstance(name, bytes):  # a plain binary column
        data, name = name, None
    if data and not isinstance(data, bytes):
        message = f"{field} has bytes that are {kind_of(data)}; save the picture as a file and give its path"
        found.append(("wrong type", message))
        return None
    if data:
        return BytesPicture(data, name if isinstance(name, str) and name else f"image {place}")
    if not isinstance(name, str) or not name:
        message = f"{field} is {kind_of(entry)}; make it a path, a list of paths or an object with a path"
        found.append(("wrong type", message))
        return None
    if len(name) > _LONGEST_NAME:
        message = f"{field} is a text of {len(name)} characters; save the picture as a file and give its path"
        found.append(("wrong type", message))
        return None
    if half := half_character(name):
        found.append(("bad JSON", f"{field} holds {half}; correct the escape"))
        return None
    if _ADDRESS.match(name):
        message = f"{field} is the address {name[:80]!r}; save the picture as a file and give its path"
        found.append(("missing image", message))
        return None
    image = pictures.find(name)
    if image is None:
        message = f"image {name!r} is not at {pictures.tried(name)}; restore it or set the image root"
        found.append(("missing image", message))
    return image


def record_name(record: Any, number: int) -> str:
    """How a report calls a record: its number in the file and, where it has one, its id."""
    id = record.get("id") if isinstance(record, dict) else None
    return f"record {number}" + (f" (id {id!r})" if isinstance(id, str | int) and str(id) else "")
