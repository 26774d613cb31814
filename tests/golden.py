"""Where golden cases live: RRFT_GOLDEN, or the copy in tests/fixtures/golden. Any folder of the same layout will do."""

import os
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parent / "fixtures" / "golden"  # what counts of cases are about


def golden_root() -> Path:
    return Path(os.environ.get("RRFT_GOLDEN", FIXTURE))


def trl_folders() -> list[str]:
    """Names of the folders that hold a batch scored by TRL: batch.npz, losses.json and the model."""
    return sorted(path.parent.name for path in golden_root().glob("*/losses.json"))


def golden_path(name: str) -> Path:
    """The path of golden file `name`, or a skip that says what is missing."""
    path = golden_root() / name
    if not path.exists():
        pytest.skip(f"golden file {path} is missing (set RRFT_GOLDEN to a folder that holds {name})")
    return path
