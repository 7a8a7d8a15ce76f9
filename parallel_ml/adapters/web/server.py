"""Listening: the socket, uvicorn and its limits."""

from __future__ import annotations

import contextlib
import socket

import uvicorn

from parallel_ml.adapters.web.application import make_app
from parallel_ml.adapters.web.parts import Parts
from parallel_ml.adapters.web.settings import ServerSettings
from parallel_ml.adapters.web.slow_clients import PromptProtocol
from parallel_ml.errors import UsageError

MOST_CONNECTIONS = 600
"""Idle ones included; whoever comes on top is answered 503."""
MAX_HEAD_BYTES = 32 << 10
MAX_MESSAGE_BYTES = 64 << 10
UNREAD_MS = 30_000
"""A client that takes nothing of what was sent for so long is cut off by the system (TCP_USER_TIMEOUT in tcp(7))."""
LEAVE_S = 2


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 is any that is free.

    Raises:
        UsageError: That is not possible.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}: {error.strerror or error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError, AttributeError):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        listening.bind(address)
        listening.listen(512)
    except OSError as error:
        listening.close()
        hint = "another program has that port; port 0 is any that is free"
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}", hint) from error
    return listening


def make_server(settings: ServerSettings) -> uvicorn.Server:
    """Return the server; `run(sockets=[...])` serves until a signal ends it."""
    app = make_app(settings)
    return _Server(
        app.state.parts,
        uvicorn.Config(
            app,
            http=PromptProtocol,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            log_config=None,
            log_level="error",  # what clients do wrong is theirs to know
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_graceful_shutdown=LEAVE_S,
        ),
    )


class _Server(uvicorn.Server):
    """A server whose streams end when it does."""

    def __init__(self, parts: Parts, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._parts = parts

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._parts.leaving.set()
        await super().shutdown(sockets)
