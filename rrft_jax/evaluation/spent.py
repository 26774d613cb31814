"""CPU time of an evaluation over all the sessions it took, kept next to its predictions."""

import json
from pathlib import Path

from rrft_jax.files import write_atomic
from rrft_jax.run.clock import cpu_seconds


class Spent:
    """A session of an evaluation, which begins now.

    A session that is killed has cost what its last note says: what came after, and what its scoring workers used (their
    time is known when they end), is lost.
    """

    def __init__(self, file: Path):
        """file: where former sessions noted theirs; it need not exist."""
        self._file = file
        self._before = json.loads(file.read_text())["cpu_seconds"] if file.exists() else 0.0
        self._began = cpu_seconds()

    def note(self) -> float:
        """Writes down, and returns, the CPU-seconds of this and all former sessions. The file's folder must exist."""
        total = round(self._before + cpu_seconds() - self._began, 2)
        write_atomic(self._file, (json.dumps({"cpu_seconds": total}) + "\n").encode())
        return total
