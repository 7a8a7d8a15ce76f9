"""The MCP server over HTTP keeps some sessions and no more, each as long as its client asks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="an extra")
pytest.importorskip("fastapi", reason="an extra")

from starlette.testclient import TestClient

from parallel_ml.adapters import mcp_http
from parallel_ml.adapters.mcp_http import make_app
from parallel_ml.adapters.mcp_runs import Served
from parallel_ml.adapters.mcp_server import make_server
from parallel_ml.adapters.web.settings import ServerSettings
from tests.process.conftest import until

TOKEN = "a-token-of-the-tests"  # noqa: S105 - of no server that lives on
_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}}
_MESSAGE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _HELLO}


def asking(root: Path) -> TestClient:
    """Return a client of a server over a folder."""
    server = make_server(Served(root.resolve(), None, dict(os.environ)))
    app = make_app(server, ServerSettings(root.resolve(), TOKEN, port=8765))
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json, text/event-stream"}
    return TestClient(app, base_url="http://127.0.0.1:8765", headers=headers)


def test_sessions_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends makes room for another."""
    monkeypatch.setattr(mcp_http, "MOST_SESSIONS", 2)
    with asking(tmp_path) as client:
        opened = [client.post("/mcp", json=_MESSAGE) for _ in range(3)]
        assert [one.status_code for one in opened] == [200, 200, 503]
        session = {"Mcp-Session-Id": opened[0].headers["mcp-session-id"]}
        assert client.delete("/mcp", headers=session).status_code == 200
        assert client.post("/mcp", json=_MESSAGE).status_code == 200


def test_a_session_that_asks_nothing_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client may begin a new one."""
    monkeypatch.setattr(mcp_http, "IDLE_S", 0.01)
    monkeypatch.setattr(mcp_http, "MOST_SESSIONS", 1)
    with asking(tmp_path) as client:
        assert client.post("/mcp", json=_MESSAGE).status_code == 200
        until(lambda: client.post("/mcp", json=_MESSAGE).status_code == 200, "the end of the first one's session")
