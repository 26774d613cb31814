"""The program of one reward worker: `python -m rrft_jax.rewards.worker`, started and fed by `pool`.

It reads (initializer), then chunks (function, [arguments, ...]), and answers one message per step:
("ready",), ("loaded",) or ("unloadable", reason), then ("item", value, error) for each item in order.
"""

import pickle
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from rrft_jax.rewards.values import reason


def main(descriptor: int, item_limit_s: float, memory_limit_mb: int) -> None:
    """Serve until the other end of the socket closes, as it does when the parent ends in whatever way."""
    _limit_memory(memory_limit_mb)
    connection = Connection(descriptor)
    try:
        pickle.loads(connection.recv_bytes())()
        connection.send(("ready",))
        while True:
            _serve(connection, connection.recv_bytes(), item_limit_s)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _serve(connection: Connection, chunk: bytes, item_limit_s: float) -> None:
    try:
        function, items = pickle.loads(chunk)
    except Exception as error:  # a missing module or name: the caller gets the reason
        connection.send(("unloadable", reason(error)))
        return
    connection.send(("loaded",))
    for arguments in items:
        # The parent enforces the limit. This alarm ends a worker whose parent was killed while it computed.
        signal.setitimer(signal.ITIMER_REAL, 2 * item_limit_s + 5)
        connection.send_bytes(_run(function, arguments))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _run(function: Callable[..., Any], arguments: Sequence[Any]) -> bytes:
    try:
        return pickle.dumps(("item", function(*arguments), None))
    except Exception as error:  # the item's own failure, also a value that cannot be sent
        return pickle.dumps(("item", None, reason(error)))


def _limit_memory(megabytes: int) -> None:
    # An answer such as 9!!! asks for more memory than there is: let it fail here and not take the trainer along.
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    except (ImportError, ValueError, OSError):
        pass  # no such limit on this system; the time limit still holds


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
