"""Records with a piece changed to what readers stumble over, and text that is almost JSON."""

import copy
import json
import random
from typing import Any

TURNS = [{"role": "system", "content": "Count."}, {"role": "user", "content": "<image>How many?"},
         {"role": "assistant", "content": "<think>One.</think><answer>1</answer>"},
         {"role": "user", "content": "And red?"}, {"role": "assistant", "content": "None."}]  # fmt: skip
SEEDS: list[dict] = [
    {"id": "r", "image": "a.png", "problem": "How many?", "answer": "4", "cot": "Two and two.", "note": {"a": [1]}},
    {"id": 7, "images": ["a.png", {"path": "b.png"}], "problem": "<image>, <image>?", "solution": "<answer>B</answer>"},
    {"id": "t", "image": [], "problem": "1 + 1?", "answer": 2.0, "system": "Add."},
    {"image": ["a.png"], "messages": TURNS},
    {"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": "4"}]},
    {"prompt": [{"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "Q"}]}],
     "completion": [{"role": "assistant", "content": "4"}]},
]  # fmt: skip
NUMBERS: list[Any] = [0, -1, 5.0, 0.1, 10**30, 1e308, float("nan"), float("inf"), float("-inf")]
TEXTS: list[Any] = [
    "", " ", "nan", "NaN", "<image>", "<image><image>", "<image 1>", "<|image_pad|>", "<video>", "\ud83d", "\0",
    "a\0.png", "../a.png", "/", ".", "~", "a.png", "x" * 2000, "data:image/png;base64,AAAA", "<answer>", "</think>",
    "<answer></answer>", "\u2028", "\\", '"', "user", "assistant", "tool",
    "Output the thinking process in <think> " * 50, "### Output Format Now, it's your turn!",
]  # fmt: skip
OTHERS: list[Any] = [
    None, True, False, [], {}, [[]], [None], [{}], {"bytes": "x"}, {"path": None}, {"path": ["a.png"]},
    {"role": "user"}, [{"role": "user"}], [{"role": "user", "content": "Q"}], {"type": "image"}, {"type": "text"},
    [{"type": "text", "text": None}],
]  # fmt: skip
VALUES = NUMBERS + TEXTS + OTHERS
KEYS = (
    "id", "image", "images", "problem", "answer", "solution", "cot", "system", "messages", "conversations", "prompt",
    "completion", "role", "from", "content", "value", "task", "video", "tools", "bytes", "path", "", "\ud83d",
)  # fmt: skip


def mutant(rng: random.Random) -> Any:
    """A record with one to four of its values changed, added, moved or removed."""
    record = copy.deepcopy(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 4)):
        holder = _somewhere(record, rng)
        match rng.randrange(6):
            case 0 | 1 if holder:
                place = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
                holder[place] = copy.deepcopy(rng.choice(VALUES))
            case 2 if holder:
                holder.pop(rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder)))
            case 3 if isinstance(holder, dict):
                holder[rng.choice(KEYS)] = copy.deepcopy(rng.choice(VALUES))
            case 4 if isinstance(holder, list):
                holder.insert(rng.randint(0, len(holder)), copy.deepcopy(rng.choice(holder) if holder else None))
            case 5 if isinstance(holder, dict) and holder:
                place = rng.choice(list(holder))
                if isinstance(holder[place], str):
                    cut = rng.randint(0, len(holder[place]))
                    said = rng.choice(TEXTS)
                    holder[place] = holder[place][:cut] + said + holder[place][cut:]
    return record if rng.random() < 0.97 else rng.choice(VALUES)


def damaged(text: bytes, rng: random.Random) -> bytes:
    """A few bytes of a text changed, lost or doubled."""
    data = bytearray(text)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                del data[at : at + rng.randint(1, 20)]
            case 2:
                data[at:at] = rng.choice((b"[", b"{", b'"', b",", b"NaN", b"1e999", b"\\ud800", b"\xef\xbb\xbf", b"\0"))
            case _:
                data[at:at] = data[at : at + rng.randint(1, 40)]
        if not data:
            return b" "
    return bytes(data)


def as_json(record: Any) -> bytes:
    return json.dumps(record).encode()


def _somewhere(record: dict, rng: random.Random) -> Any:
    """A list or an object inside the record, or itself."""
    found, todo = [], [record]
    while todo:
        value = todo.pop()
        if isinstance(value, dict | list):
            found.append(value)
            todo += value.values() if isinstance(value, dict) else value
    return rng.choice(found)
