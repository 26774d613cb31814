"""From an application to a server that listens, stops on Ctrl-C and finishes what was begun. Needs the extra `serve`.
"""

import errno
import ipaddress
import os
import socket
import sys

import uvicorn
from starlette.applications import Starlette

from rrft_jax.serving.connection import Connection
from rrft_jax.serving.engine import Engine

_LAST_WAIT = 5.0  # seconds for the model's thread after a second Ctrl-C


def listen(host: str, port: int) -> socket.socket:
    """The bound socket: an address that cannot be had is known before the model is loaded. ValueError names it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            message = f"--port={port}: cannot listen there on {host} ({error.strerror}); choose another"
        else:
            message = f"--host={host}: cannot listen there ({error.strerror}); give an address of this machine"
        raise ValueError(message) from None
    return listener


def run_server(app: Starlette, engine: Engine, listener: socket.socket, greeting: str) -> int:
    """Serves until Ctrl-C; the exit code. greeting: printed once whoever reads it can connect, with its '{url}'."""

    class Server(uvicorn.Server):
        def handle_exit(self, sig, frame):
            engine.stop()  # now, and not once all that waits has been answered
            super().handle_exit(sig, frame)

    # Its warnings are about requests of clients, who have been told.
    config = uvicorn.Config(app, http=Connection, ws="none", log_level="error", access_log=False, proxy_headers=False)
    host, port = listener.getsockname()[:2]
    listener.listen(config.backlog)
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        print(f"note: {host} is reachable from its network, and whoever reaches it may ask", file=sys.stderr)
    # Not `format`: the greeting holds the model's name, which may have braces of its own.
    print(greeting.replace("{url}", f"http://{f'[{host}]' if ':' in host else host}:{port}"), flush=True)
    try:
        Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # the signal once more, after everything has been put away
        pass
    engine.stop()
    if not engine.join(_LAST_WAIT):
        os._exit(130)  # the thread is inside a program, which nothing can interrupt
    return 130
