"""One finished run that several tests look at, and the compilation cache they all share."""

import pytest

from tests.training import runs


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    return runs.Launcher(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session")
def finished(launcher, tmp_path_factory):
    """(workdir, output) of an uninterrupted tiny GRPO run. Not to be written to."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, launcher.run(workdir, *runs.TINY)
