"""One finished run that several tests look at, and the compilation cache they all share."""

import os

import pytest

from tests.training import runs


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    given = os.environ.get("XLA_FLAGS", "")  # such as another instruction set
    return runs.Launcher(tmp_path_factory.mktemp("compiled"), f"{given} {runs.QUICK_COMPILE}".strip())


@pytest.fixture(scope="session")
def finished(launcher, tmp_path_factory):
    """(workdir, output) of an uninterrupted tiny GRPO run. Not to be written to."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, launcher.run(workdir, *runs.TINY)
