"""One finished run that several tests look at, and the compilation cache they all share."""

import os
from pathlib import Path

import pytest

from tests.training import runs


@pytest.fixture(scope="session")
def launcher():
    given = os.environ.get("XLA_FLAGS", "")  # such as another instruction set
    return runs.Launcher(Path(os.environ["JAX_COMPILATION_CACHE_DIR"]), f"{given} {runs.QUICK_COMPILE}".strip())


@pytest.fixture(scope="session")
def finished(launcher, tmp_path_factory):
    """(workdir, output) of an uninterrupted tiny GRPO run. Not to be written to."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, launcher.run(workdir, *runs.TINY)
