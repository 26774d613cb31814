"""The programs of launch/ as commands of an installed package: rrft-train, rrft-evaluate, ... from any folder.

A checkout has launch/ and configs/ next to the package, a wheel within it.
"""

import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path


def folder_of(name: str) -> Path:
    """The folder `launch` or `configs`."""
    package = Path(__file__).parent
    return package / name if (package / name).is_dir() else package.parent / name


def __getattr__(name: str) -> Callable[[], None]:
    """`rrft_jax.programs:train` and its like, which setup.py makes commands of."""
    if not name.isidentifier() or not (folder_of("launch") / f"{name}.py").exists():
        raise AttributeError(name)
    return partial(_run, name)


def _run(name: str) -> None:
    file = folder_of("launch") / f"{name}.py"
    # As if it were started by its path: other processes of a run, and the command that resumes it, are named by it.
    sys.argv[0] = str(file)
    sys.path.insert(0, str(file.parent))
    runpy.run_path(str(file), run_name="__main__")
