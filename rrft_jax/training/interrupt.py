"""Stopping between two steps instead of in the middle of one."""

import os
import signal
import threading
from typing import Any

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
