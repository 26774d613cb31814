"""The two processors of the tests: the real Qwen2-VL vocabulary, and the bundled nano."""

from pathlib import Path

import pytest

from rrft_jax.processing.processor import load_processor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def qwen_directory() -> Path:
    return ROOT / "tests" / "fixtures" / "qwen2-tokenizer"


@pytest.fixture(scope="session")
def nano_directory() -> Path:
    return ROOT / "rrft_jax" / "assets" / "nano"


@pytest.fixture(scope="session")
def qwen(qwen_directory):
    return load_processor(qwen_directory, max_pixels=256 * 28 * 28)


@pytest.fixture(scope="session")
def nano(nano_directory):
    return load_processor(nano_directory)
