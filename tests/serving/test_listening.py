"""The line that a server prints once it listens."""

import re
from types import SimpleNamespace

import pytest
import uvicorn
from starlette.applications import Starlette

from rrft_jax.serving.listening import listen, run_server


def test_the_name_of_the_model_may_hold_braces(monkeypatch, capsys):
    monkeypatch.setattr(uvicorn, "Config", lambda *of, **options: SimpleNamespace(backlog=1))  # which sets up logging
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    engine = SimpleNamespace(stop=lambda: None, join=lambda seconds: True)
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert run_server(Starlette(), engine, listener, "serving {step}{0} on {url}/v1") == 130
    printed = capsys.readouterr()
    assert printed.out == f"serving {{step}}{{0}} on http://127.0.0.1:{port}/v1\n" and not printed.err
    with listen("0.0.0.0", 0) as listener:
        run_server(Starlette(), engine, listener, "{url}")
    assert capsys.readouterr().err == "note: 0.0.0.0 is reachable from its network, and whoever reaches it may ask\n"


def test_an_address_that_cannot_be_had_names_its_flag():
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"^--port={port}: cannot listen there on 127.0.0.1 .*; choose another"):
            listen("127.0.0.1", port)
    for host in ("192.0.2.1", "no such name"):  # the first is for documentation: no machine has it
        with pytest.raises(ValueError, match=f"^--host={re.escape(host)}: cannot listen there .*give an"):
            listen(host, 0)
