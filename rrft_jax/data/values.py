"""JSON values as records hold them: missing values, keys that are repeated, and names for messages."""

import json
import math
import re
from decimal import Context, Decimal
from typing import Any

from rrft_jax.files import repeated

_HALF = re.compile("[\ud800-\udfff]")
_UNSEEN = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]*")  # white space, and characters without width
_EXACT = 2**53  # below it a float64 says which whole number is meant
_ALWAYS_KEPT = 15  # significant digits
_LONGEST = 1000  # digits of a number that is written out
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"PK\x03\x04")
# UTF-16 and UTF-32, with a mark or without.
_OTHER_TEXT = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff", b"[\0", b"{\0", b"\0[", b"\0{")
_MISSING_TEXTS = frozenset({"nan", "NaN", "NaT", "<NA>"})  # what tables write for a missing value when all becomes text


class Repeated(dict):
    """A JSON object in which a key stood twice; only the last value is in it. key: the first of those."""

    key: str = ""


class LongNumber(float):
    """A number of a JSON text that has more digits than a float keeps. written: all of them."""

    written: str = ""


def parse_records(text: bytes, line: int = 0, mark: bool = False) -> Any:
    """The value of a JSON text whose first line is number `line` + 1. ValueError says what is wrong, and where.

    An object with a key twice is an error, or with `mark` a `Repeated`, which `repeated_key` finds.
    """
    if other := other_content(text):
        raise ValueError(other)
    try:
        hook = _marked if mark else _refused
        return json.loads(text.decode("utf-8-sig"), object_pairs_hook=hook, parse_float=_number)
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno}, column {error.colno}"
        raise ValueError(f"not valid JSON at {where} ({error.msg})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text at byte {error.start} ({error.reason})") from None
    except (ValueError, ArithmeticError, RecursionError) as error:  # thousands of digits or of open brackets
        raise ValueError(f"not JSON that can be read ({str(error).partition(';')[0]})") from None


def other_content(start: bytes) -> str:
    """What a file that begins with these bytes holds in place of JSON, and what to do; "" where that is not known."""
    if start.startswith(_PACKED):
        return "not JSON but compressed: unpack it"
    if start.startswith(_OTHER_TEXT):
        return "not UTF-8 but UTF-16 or UTF-32 text: save it as UTF-8"
    if start.startswith(b"version https://git-lfs"):
        return "not the file but git-lfs's note about it: get the file with git lfs pull"
    return ""


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
    """Whether a value counts as missing: null, or the NaN that fills the gaps of a column of numbers."""
    return value is None or isinstance(value, float) and not math.isfinite(value)


def missing_text(text: str) -> bool:
    """Whether an answer or a question is the text that tables write for a missing value."""
    return text.strip() in _MISSING_TEXTS


def blank(text: str) -> bool:
    """Whether nothing of a text can be seen."""
    return _UNSEEN.fullmatch(text) is not None


def number_text(value: int | float | Decimal) -> str:
    """A number as an answer in text: all its digits, a whole one without ".0"."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, LongNumber):
        value = Decimal(value.written)
    if isinstance(value, Decimal):
        if abs(value.adjusted()) > _LONGEST:
            return str(value)
        text = f"{value:f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text) if value else "0"
    # A column of whole numbers with a gap in it is stored as floating-point numbers by most tools.
    return str(int(value)) if abs(value) < _EXACT and value == int(value) else str(value)


def half_character(text: str) -> str:
    """Describes half of a surrogate pair in a text, else "": JSON may hold half of \\ud83d\\ude00, UTF-8 cannot."""
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
    kind = next((kind for own, kind in ((Repeated, dict), (LongNumber, float)) if isinstance(value, own)), type(value))
    return names.get(kind, f"a {type(value).__name__}")


def _number(text: str) -> float:
    """As a float, unless that would lose digits that somebody wrote: more than those of a float that was printed."""
    value = float(text)
    if (len(text) <= _ALWAYS_KEPT and value) or not math.isfinite(value):
        return value
    exact = Decimal(text)
    printed = Context(prec=max(1, len(exact.as_tuple().digits))).create_decimal(value)
    if exact in (printed, Decimal(repr(value))):
        return value
    value = LongNumber(value)
    value.written = text
    return value


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
    return repeated(key for key, _ in pairs)
