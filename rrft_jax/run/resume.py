"""The shell command that resumes a run."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rrft_jax.run.workdir import STAGE1


def resume_hint(argv: Sequence[str], workdir: str | Path) -> str:
    """The shell command that resumes the run of `argv` (as in sys.argv) in `workdir`, which may be that of its first
    stage: the command of the whole resumes that too."""
    kept: list[str] = []
    given, skip = "", False
    for arg in argv:
        if skip:
            given, skip = arg, False
        elif arg in ("--workdir", "-workdir"):
            skip = True
        elif arg.startswith(("--workdir=", "-workdir=")):
            given = arg.partition("=")[2]
        else:
            kept.append(arg)
    if Path(workdir).name == STAGE1 and not (given and _absolute(given) == _absolute(workdir)):
        workdir = Path(workdir).parent
    command = shlex.join([_python(), *kept, f"--workdir={workdir}"])
    # The flags of the compiler decide the last bits of the result, so they are part of the command.
    flags = os.environ.get("XLA_FLAGS", "")
    return f"XLA_FLAGS={shlex.quote(flags)} {command}" if flags else command


def _absolute(path: str | Path) -> Path:
    return Path(path).expanduser().absolute()


def _python() -> str:
    """The running interpreter as briefly as the shell would find it."""
    if shutil.which("python") == sys.executable:
        return "python"
    here, program = Path.cwd(), Path(sys.executable)
    return str(program.relative_to(here)) if program.is_relative_to(here) else sys.executable
