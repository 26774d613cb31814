"""A judge's replies on disk: what was judged once is not asked again, in this run or in the next.

One JSON object a line, {"key": ..., "reply": ...}, only ever appended to in single writes, so that a kill costs at
most the line that it cut; such a line is passed over, and the next one begins behind it. Several processes of one
machine may share a folder: each sees what the others had written when it started.
"""

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

FILE = "judge_replies.jsonl"


def key_of(*parts: Any) -> str:
    """A digest of plain values: the judge (model and settings) and its messages, which hold rubric and item."""
    return sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class ReplyCache:
    """Replies by key. folder: made where it is missing; "": memory alone. Only places of replies are kept in memory,
    not their texts. OSError where the folder cannot be written."""

    def __init__(self, folder: str | Path = ""):
        self._texts: dict[str, str] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._file: int | None = None
        if folder:
            path = Path(folder).expanduser()
            path.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            self._read()

    def get(self, key: str) -> str | None:
        if self._file is None:
            return self._texts.get(key)
        place = self._places.get(key)
        if place is None:
            return None
        entry = _entry(os.pread(self._file, place[1], place[0]))
        return entry[1] if entry and entry[0] == key else None  # somebody may have edited the file

    def put(self, key: str, reply: str) -> None:
        if self._file is None:
            self._texts[key] = reply
        elif key not in self._places:
            line = json.dumps({"key": key, "reply": reply}).encode() + b"\n"
            if os.write(self._file, line) < len(line):
                return  # a full disk: the next reader passes over what was cut
            # With O_APPEND this is where the line ended, also where another process wrote in between.
            self._places[key] = os.lseek(self._file, 0, os.SEEK_CUR) - len(line), len(line)

    def __len__(self) -> int:
        return len(self._texts if self._file is None else self._places)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self) -> None:
        assert self._file is not None
        place, line = 0, b"\n"
        with os.fdopen(os.dup(self._file), "rb") as lines:
            lines.seek(0)
            for line in lines:
                if entry := _entry(line):
                    self._places[entry[0]] = place, len(line)
                place += len(line)
        if not line.endswith(b"\n"):
            os.write(self._file, b"\n")


def _entry(line: bytes) -> tuple[str, str] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    key, reply = (found.get("key"), found.get("reply")) if isinstance(found, dict) else (None, None)
    return (key, reply) if isinstance(key, str) and isinstance(reply, str) else None
