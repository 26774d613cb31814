"""Stopping between two steps instead of in the middle of one, and at once where there is nothing to save."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def exit_code(number: int) -> int:
    """130 after Ctrl-C, as a shell expects; else 0: a scheduler, or a machine that is taken away, sends SIGTERM and
    wants no more than a save. The DONE file of the workdir tells a finished run from such a stopped one."""
    return 128 + signal.SIGINT if number == signal.SIGINT else 0


def leave_on_signals() -> None:
    """For the start of a program, while it loads its libraries: SIGINT and SIGTERM end it with one line."""

    def leave(number: int, _frame: Any) -> None:
        _tell(f"\n{signal.Signals(number).name}: stopped, nothing had been started.\n")
        os._exit(exit_code(number))

    for number in SIGNALS:
        signal.signal(number, leave)


class GracefulStop:
    """Within this context SIGINT and SIGTERM only set `requested`; the loop looks at it between steps.

    A further Ctrl-C ends the process at once. So does the first signal while `at_once` holds a text, which is printed:
    there is nothing to save then. Both also act while the main thread is busy in the compiler, since a thread
    of their own waits for them. The former handlers come back at the end. Python delivers signals to the main thread
    alone: in another thread the context changes nothing and `requested` stays False. leave: ends the process.
    """

    def __init__(self, leave: Callable[[int], Any] = os._exit) -> None:
        self.signal: signal.Signals | None = None
        self.at_once: str | None = None
        self._leave = leave
        self._former: dict[signal.Signals, Any] = {}
        self._former_fd = -1
        self._pipe: tuple[int, int] | None = None
        self._seen = 0
        self._said = threading.Lock()

    @property
    def requested(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        return exit_code(self.signal or 0)

    def __enter__(self) -> "GracefulStop":
        if threading.current_thread() is threading.main_thread():
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            self._former_fd = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            self._former = {number: signal.signal(number, self._handle) for number in SIGNALS}
            threading.Thread(target=self._watch, args=(self._pipe[0],), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._former = {}
        if self._pipe is not None:
            signal.set_wakeup_fd(self._former_fd)
            os.close(self._pipe[1])  # which ends the thread
            self._pipe = None

    def _handle(self, number: int, _frame: Any) -> None:
        if self.signal is None:
            self.signal = signal.Signals(number)
            if self.at_once is None:
                self._say_saving(self.signal)

    def _say_saving(self, number: signal.Signals) -> None:
        """Once, by the handler or by the thread: either may come first, and the process may end before the other."""
        if self._said.acquire(blocking=False):
            _tell(f"\n{number.name}: saving after this step. Ctrl-C again stops at once, without saving.\n")

    def _watch(self, pipe: int) -> None:
        """What a signal does at once, in a thread of its own; the wake-up descriptor brings one byte for each."""
        while numbers := os.read(pipe, 64):
            for number in numbers:
                if number in SIGNALS:
                    self._answer(signal.Signals(number))
        os.close(pipe)

    def _answer(self, number: signal.Signals) -> None:
        self._seen += 1
        if self._seen == 1 and self.at_once is None:
            self._say_saving(number)
        elif self._seen == 1:
            _tell(f"\n{self.at_once}\n")
            self._leave(exit_code(number))
        elif number == signal.SIGINT:
            _tell("\nstopped at once; the run resumes from its last checkpoint.\n")
            self._leave(exit_code(number))


def _tell(text: str) -> None:
    # Not print: the signal may have arrived inside a write to the same stream, which refuses to be re-entered.
    os.write(2, text.encode())
