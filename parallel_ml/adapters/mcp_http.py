"""The MCP server over streamable HTTP, on this machine's loopback alone and guarded as the other server is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn

from parallel_ml.adapters.web.guard import Guard
from parallel_ml.adapters.web.server import AT_ONCE, LEAVE_S, MAX_HEAD_BYTES, allow_files, listen
from parallel_ml.adapters.web.settings import ServerSettings
from parallel_ml.adapters.web.slow_clients import PromptProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.mcpserver import MCPServer

    from parallel_ml.adapters.mcp_runs import Served

HOST = "127.0.0.1"
PATH = "/mcp"
MOST_SESSIONS = 256
IDLE_S = 30 * 60.0
"""A session that asks nothing for so long is forgotten; its client is answered 404 and begins a new one."""


def make_app(server: MCPServer[None], settings: ServerSettings) -> Guard:
    """Return the application, behind the guard; one that needs its lifespan."""
    app = server.streamable_http_app(streamable_http_path=PATH, session_idle_timeout=IDLE_S, max_sessions=MOST_SESSIONS)
    return Guard(app, settings)


def serve_http(server: MCPServer[None], served: Served, port: int, token: str, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; runs go on.

    Args:
        server: What is served.
        served: What its tools work on.
        port: The port; 0 is any that is free.
        token: What every request must bring, as `Authorization: Bearer`.
        announce: Is told the URL when it can be reached.

    Raises:
        UsageError: The port cannot be had.
    """
    allow_files()
    with listen(HOST, port) as listening:
        settings = ServerSettings(served.root, token, host=HOST, port=listening.getsockname()[1])
        config = uvicorn.Config(
            make_app(server, settings),
            http=PromptProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=AT_ONCE,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_graceful_shutdown=LEAVE_S,
        )
        announce(f"http://{HOST}:{settings.port}{PATH}")
        uvicorn.Server(config).run(sockets=[listening])
