"""JSON values as records hold them: missing values, keys that are repeated, and names for messages."""

import json
import math
import re
from typing import Any

_HALF = re.compile("[\ud800-\udfff]")
_MISSING_TEXTS = frozenset({"nan", "NaN", "NaT", "<NA>"})  # what tables write for a missing value when all becomes text


class Repeated(dict):
    """A JSON object in which a key stood twice; only the last value is in it. key: the first of those."""

    key: str = ""


def parse_records(text: bytes, line: int = 0, mark: bool = False) -> Any:
    """The value of a JSON text whose first line is number `line` + 1. ValueError says what is wrong, and where.

    An object with a key twice is an error, or with `mark` a `Repeated`, which `repeated_key` finds.
    """
    try:
        return json.loads(text.decode("utf-8-sig"), object_pairs_hook=_marked if mark else _refused)
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno}, column {error.colno}"
        raise ValueError(f"not valid JSON at {where} ({error.msg})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text at byte {error.start} ({error.reason})") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of open brackets
        raise ValueError(f"not JSON that can be read ({str(error).partition(';')[0]})") from None


def repeated_key(value: Any) -> str | None:
    """A key that stood twice in an object anywhere in a value of `parse_records`."""
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, Repeated):
            return value.key
        if isinstance(value, dict | list):
            todo += value.values() if isinstance(value, dict) else value
    return None


def missing(value: Any) -> bool:
    """Whether a value stands for one that is not there: null, and what the gaps of a column of numbers become."""
    return value is None or isinstance(value, float) and not math.isfinite(value)


def missing_text(text: str) -> bool:
    """Whether an answer or a question is what a table writes for a value that is not there."""
    return text.strip() in _MISSING_TEXTS


def half_character(text: str) -> str:
    """What is wrong where there is one: JSON may hold half of an escaped pair (\\ud83d\\ude00), which UTF-8 cannot."""
    half = _HALF.search(text)
    return f"half of a character, {half.group()!r} at place {half.start()}" if half else ""


def kind_of(value: Any) -> str:
    """A JSON value's type in words."""
    if value is None:
        return "null"
    if missing(value):
        return "NaN" if math.isnan(value) else "Infinity"
    if value == "":
        return "an empty string"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(dict if isinstance(value, Repeated) else type(value), f"a {type(value).__name__}")


def _marked(pairs: list[tuple[str, Any]]) -> dict:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    value = Repeated(value)
    value.key = _first_twice(pairs)
    return value


def _refused(pairs: list[tuple[str, Any]]) -> dict:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(f"the key {_first_twice(pairs)!r} stands twice in one object")
    return value


def _first_twice(pairs: list[tuple[str, Any]]) -> str:
    keys = [key for key, _ in pairs]
    return next(key for place, key in enumerate(keys) if key in keys[:place])
