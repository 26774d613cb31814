"""The line that a server prints once it listens."""

from types import SimpleNamespace

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
    assert capsys.readouterr().out == f"serving {{step}}{{0}} on http://127.0.0.1:{port}/v1\n"
