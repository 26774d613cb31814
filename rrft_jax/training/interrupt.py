"""Stopping between two steps instead of in the middle of one."""

import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrft_jax.training.workdir import STAGE1

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulStop:
    """Within this context SIGINT and SIGTERM only set `requested`; the loop looks at it between steps.

    A further Ctrl-C raises KeyboardInterrupt at once. The former handlers come back at the end. Python delivers
    signals to the main thread alone: in another thread the context changes nothing and `requested` stays False.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._former: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, as a shell expects; 0 else. SIGTERM is a scheduler's, or a machine's that is taken away: to
        have saved is all that was asked for. The DONE file of the workdir tells a finished run from such a one."""
        return 128 + signal.SIGINT if self.signal == signal.SIGINT else 0

    def __enter__(self) -> "GracefulStop":
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._former = {}

    def _handle(self, number: int, _frame: Any) -> None:
        if self.requested:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.signal = signal.Signals(number)
        # Not print: the signal may have arrived inside a write to the same stream, which refuses to be re-entered.
        message = f"\n{self.signal.name}: saving after this step. Ctrl-C again stops at once, without saving.\n"
        os.write(2, message.encode())


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
