"""Fields of a JSON object by type; an error is one line with the file and the field.

section: the object that has the field; file: its name for errors; names: the first that is there and not null counts;
default: the value of a missing field, REQUIRED where it must be there. All raise ValueError.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rrft_jax.files import shown

REQUIRED: Any = object()


def field(section: Mapping, file: Path, *names: str, default: Any = REQUIRED) -> Any:
    for name in names:
        if section.get(name) is not None:
            return section[name]
    if default is REQUIRED:
        raise ValueError(f"{file}: field {' or '.join(names)} is missing")
    return default


def section_of(section: Mapping, file: Path, name: str) -> dict[str, Any]:
    """The JSON object of this name, empty where there is none."""
    value = field(section, file, name, default={})
    return value if isinstance(value, dict) else _refuse(file, (name,), value, "an object")


def count(section: Mapping, file: Path, *names: str, default: Any = REQUIRED, least: int = 1, most: int = 2**20) -> int:
    """A whole number from `least` to `most`: a damaged size must not become work without end."""
    value = field(section, file, *names, default=default)
    if value is default:
        return value
    if type(value) is not int or value < least:
        wanted = "a positive whole number" if least == 1 else f"a whole number, {least} or more,"
        return _refuse(file, names, value, wanted)
    return value if value <= most else _refuse(file, names, value, f"a whole number up to {most:,}")


def token_id(section: Mapping, file: Path, name: str, default: Any = REQUIRED) -> int:
    value = field(section, file, name, default=default)
    if value is default:
        return value
    return value if _is_token(value) else _refuse(file, (name,), value, "a token id, 0 or more,")


def token_ids(section: Mapping, file: Path, name: str) -> tuple[int, ...]:
    """The ids of a field that holds one, a list of them, or nothing."""
    value = field(section, file, name, default=[])
    ids = value if isinstance(value, list) else [value]
    if not all(_is_token(i) for i in ids):
        _refuse(file, (name,), value, "a token id or a list of them")
    return tuple(dict.fromkeys(ids))


def _is_token(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def number(section: Mapping, file: Path, *names: str, default: Any = REQUIRED, most: float = math.inf) -> float:
    """A positive number, whole or not, at most `most`."""
    value = field(section, file, *names, default=default)
    if value is default:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        _refuse(file, names, value, "a positive number")
    return value if value <= min(most, 1e300) else _refuse(file, names, value, f"a number up to {min(most, 1e300):g}")


def flag(section: Mapping, file: Path, name: str, default: Any = REQUIRED) -> bool:
    value = field(section, file, name, default=default)
    return value if value is default or isinstance(value, bool) else _refuse(file, (name,), value, "true or false")


def text(section: Mapping, file: Path, name: str, default: Any = REQUIRED) -> str:
    value = field(section, file, name, default=default)
    return value if value is default or isinstance(value, str) else _refuse(file, (name,), value, "a text")


def numbers(
    section: Mapping, file: Path, name: str, length: int, positive: bool, default: Any = REQUIRED
) -> list[float]:
    """A list of so many numbers, or one number for all of them."""
    value = field(section, file, name, default=default)
    if value is default:
        return value
    found = value if isinstance(value, list) else [value] * length
    good = (type(x) in (int, float) and (0 if positive else -math.inf) < x < math.inf for x in found)
    if len(found) != length or not all(good):
        _refuse(file, (name,), value, f"a list of {length} {'positive ' * positive}numbers")
    return found


def _refuse(file: Path, names: Sequence[str], value: Any, wanted: str) -> Any:
    raise ValueError(f"{file}: {' or '.join(names)} is {shown(value)}, {wanted} is wanted")
