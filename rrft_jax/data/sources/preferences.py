"""Preferences: pairs of responses of which people prefer one, perhaps with why. Each becomes a question in both orders.

    FOLDER/train.jsonl, ...    {"prompt", "chosen", "rejected"} a line, with an optional "rationale" and "reference"

prompt and both responses are texts; chosen and rejected may also be a chat's turns, [{"role", "content"}, ...], as
HuggingFace's preference sets have them, whose last turn is the response. The answer is the better one's letter.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found, Item, Part, once, read_lines, source_folder, split_name

TASK = "judging"
_FIELDS = "prompt, chosen and rejected"
_ORDERS = (("ab", "A", ("chosen", "rejected")), ("ba", "B", ("rejected", "chosen")))


def find(folder: str | Path) -> Found:
    """A part for each file; its name is the split."""
    layout = f"*.jsonl of lines with {_FIELDS}"
    folder = source_folder(folder, layout)
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no *.jsonl; it should hold {layout}")
    parts = []
    for path in files:
        count = max(1, 2 * sum(1 for _ in read_lines(path, _FIELDS)))
        parts.append(Part(TASK, split_name(path.stem), count, lambda path=path: once(_items(path))))
    return Found(tuple(parts))


def _items(path: Path) -> Iterator[Item]:
    for number, record in read_lines(path, _FIELDS):
        if isinstance(record, Problem):
            yield (record,)
        else:
            yield from _both(path, number, record)


def _both(path: Path, number: int, record: dict[str, Any]) -> Iterator[Item]:
    texts = {name: _text(record.get(name)) for name in ("prompt", "chosen", "rejected")}
    problem = partial(Problem, path.name, f"record {number}")
    if missing := [name for name, text in texts.items() if not text]:
        shown = f"{record.get(missing[0])!r:.60}"
        yield (problem("missing field", f"{missing[0]} is {shown}; make it a text, or a chat that ends in one"),)
        return
    if texts["chosen"] == texts["rejected"]:
        yield (problem("contradiction", "chosen and rejected are the same text; remove the record"),)
        return
    more = {}
    for name in ("rationale", "reference"):
        value = record.get(name)
        if value is not None and not isinstance(value, str):
            yield (problem("wrong type", f"{name} is {value!r:.60}; make it a text or leave it out"),)
            return
        more[name] = value.strip() if value else ""
    known = {"file": path.name, "record": number} | ({"reference": more["reference"]} if more["reference"] else {})
    for order, letter, (a, b) in _ORDERS:
        both = {"response_A": texts[a], "response_B": texts[b]}
        id = f"{path.stem}-{number:06d}-{order}"
        yield Example(id, TASK, texts["prompt"], letter, (), more["rationale"] or None, known | both)


def _text(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")
    return value.strip() if isinstance(value, str) else ""
