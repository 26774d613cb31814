"""Files that are written whole or not at all, whatever kills the process or the machine."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_json(file: Path, value: Any) -> None:
    write_atomic(file, (json.dumps(value, indent=2) + "\n").encode())


def write_lines(file: Path, values: Sequence[Any]) -> None:
    """JSON, one value a line."""
    write_atomic(file, "".join(json.dumps(value) + "\n" for value in values).encode())


def write_atomic(file: Path, content: bytes) -> None:
    """The file is there whole or not at all, whatever kills the process or the machine."""
    temporary = file.with_name(f".{file.name}.tmp-{os.getpid()}")
    with open(temporary, "wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
