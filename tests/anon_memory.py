"""How far the anonymous memory of this process grows, looked at every millisecond (Linux)."""

import threading
from pathlib import Path


def rss_anon() -> int:
    """Bytes."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024


class Growth:
    """The largest growth between enter and exit, in bytes."""

    def __enter__(self) -> "Growth":
        self._before, self.bytes, self._done = rss_anon(), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.001):
            self.bytes = max(self.bytes, rss_anon() - self._before)

    def __exit__(self, *_) -> None:
        self._done.set()
        self._thread.join()
