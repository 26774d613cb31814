"""Files of JSON: written whole or not at all, read with every error in one line that names the file."""

import json
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

LARGEST = 2**24  # bytes of a JSON file, unless its reader allows more


def write_json(file: Path, value: Any) -> None:
    write_atomic(file, (json.dumps(value, indent=2) + "\n").encode())


def write_lines(file: Path, values: Sequence[Any]) -> None:
    """JSON, one value a line."""
    write_atomic(file, "".join(json.dumps(value) + "\n" for value in values).encode())


def write_atomic(file: Path, content: bytes) -> None:
    """The file is there whole or not at all, whatever kills the process or the machine."""
    temporary = file.with_name(f".{file.name}.tmp-{os.getpid()}")
    try:
        with open(temporary, "wb") as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
    except OSError as error:  # a full disk, whose error names no file
        temporary.unlink(missing_ok=True)
        raise type(error)(error.errno, error.strerror, str(file)) from None
    os.replace(temporary, file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_json_object(
    file: Path, remedy: str = "", what: str = "", limit: int = LARGEST, error: type[Exception] = ValueError
) -> dict[str, Any]:
    """The JSON object in a file: UTF-8, no name twice in one object, at most `limit` bytes.

    Raises `error` in one line: the file, what is wrong, the remedy if any. what: what the file should have been ("the
    config of ..."), where its name does not say it.
    """
    value, problem = None, ""
    try:
        value = parse_json(read_bounded(file, limit))
    except OSError as caught:
        problem = f"cannot be read ({caught.strerror or caught})"
    except ValueError as caught:
        problem = str(caught)
    if not problem and not isinstance(value, dict):
        problem = f"holds no JSON object but {shown(value)}"
    if problem or not isinstance(value, dict):
        raise error(f"{file}: {f'not {what} ({problem})' if what else problem}{f'; {remedy}' if remedy else ''}")
    return value


def check_regular(file: Path) -> None:
    """OSError for what is no regular file: opening a pipe would wait for ever."""
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise OSError("it is no regular file")


def read_bounded(file: Path, limit: int) -> bytes:
    """The bytes of a regular file. OSError where it is none or cannot be read, ValueError for more than `limit`."""
    check_regular(file)
    with open(file, "rb") as f:
        content = f.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"holds more than {limit:,} bytes")
    return content


def parse_json(content: bytes) -> Any:
    """The value of a JSON text. ValueError in one line, also for a name that an object has twice: which of the two
    values is meant would be a guess."""
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_no_name_twice)
    except RecursionError:
        raise ValueError("not valid JSON (nested too deeply)") from None
    except _TwiceError:
        raise
    except ValueError as error:  # bad JSON, bad UTF-8, a number of thousands of digits
        raise ValueError(f"not valid JSON ({_first_line(error)})") from None


class _TwiceError(ValueError):
    pass


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = repeated(name for name, _ in pairs)
        raise _TwiceError(f"has the field {shown(twice)} twice; keep the one that is meant")
    return found


def repeated(names: Iterable[str]) -> str:
    """The first name that comes a second time; "" where none does."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


def shown(value: Any) -> str:
    """A value in an error: its repr on one line, cut short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
