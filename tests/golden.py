"""Where golden cases live: RRFT_GOLDEN, or the copy in tests/fixtures/golden."""

import os
from pathlib import Path

import pytest


FIXTURE = Path(__file__).parent / "fixtures" / "golden"


def golden_path(name: str) -> Path:
    """The path of golden file `name`, or a skip that says what is missing."""
    path = Path(os.environ.get("RRFT_GOLDEN", FIXTURE)) / name
    if not path.exists():
        pytest.skip(f"golden file {path} is missing (set RRFT_GOLDEN to a folder that holds {name})")
    return path
