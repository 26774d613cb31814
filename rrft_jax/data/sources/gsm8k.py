"""GSM8K: grade-school word problems in text alone, as its repository holds them.

    FOLDER/train.jsonl, FOLDER/test.jsonl    {"question", "answer"} a line

The answer is a solution, then a line "#### 18" with the number. The number becomes the record's answer, the solution
without its calculator notes (<<16-3=13>>) its chain of thought.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found, Item, Part, once, read_lines, source_folder, split_name

TASK = "gsm8k"
_FIELDS = "question and answer"
_NOTE = re.compile(r"<<[^<>]*>>")
_FINAL = re.compile(r"(.*)\n#### *(-?[\d,]+(?:\.\d+)?)\s*", re.DOTALL)


def find(folder: str | Path) -> Found:
    """A part for each file; its name is the split."""
    layout = "train.jsonl or test.jsonl of lines with question and answer"
    folder = source_folder(folder, layout)
    files = [path for path in sorted(folder.glob("*.jsonl")) if "socratic" not in path.stem]
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no *.jsonl; it should hold {layout}")
    parts = []
    for path in files:
        count = max(1, sum(1 for _ in read_lines(path, _FIELDS)))
        items = partial(_items, path)
        parts.append(Part(TASK, split_name(path.stem), count, lambda items=items: once(items())))
    return Found(tuple(parts))


def _items(path: Path) -> Iterator[Item]:
    for number, record in read_lines(path, _FIELDS):
        yield (record,) if isinstance(record, Problem) else _item(path, number, record)


def _item(path: Path, number: int, record: dict[str, Any]) -> Item:
    def problem(kind: str, message: str) -> Item:
        return (Problem(path.name, f"record {number}", kind, message),)

    for field in ("question", "answer"):
        if not isinstance(record.get(field), str) or not record[field].strip():
            return problem("missing field", f"{field} is {record.get(field)!r:.60}; make it a text")
    found = _FINAL.fullmatch(record["answer"])
    if found is None:
        return problem("bad answer", 'its answer does not end in a line such as "#### 18"; add the number')
    thought = _NOTE.sub("", found[1]).strip()
    metadata = {"file": path.name, "record": number}
    id = f"{path.stem}-{number:06d}"
    return Example(id, TASK, record["question"].strip(), found[2].replace(",", ""), (), thought or None, metadata)
