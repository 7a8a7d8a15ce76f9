"""Listening: the socket, uvicorn and its limits."""

from __future__ import annotations

import contextlib
import resource
import socket

import uvicorn

from parallel_ml.adapters.web.application import make_app
from parallel_ml.adapters.web.parts import Parts
from parallel_ml.adapters.web.refused_sockets import RefusingProtocol
from parallel_ml.adapters.web.settings import ServerSettings
from parallel_ml.adapters.web.slow_clients import PromptProtocol
from parallel_ml.errors import UsageError

AT_ONCE = 64
"""So many connections are accepted in one go, before any of them can be found to be one too many."""
_WAITING = 512
NEEDED_FILES = 1024
"""Connections, those about to be cut off, and the files of runs. Not more: jobs inherit the limit, and a program that
uses select(2) fails with descriptors beyond that."""
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
        listening = _Listening(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}: {error.strerror or error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError, AttributeError):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        hint = "another program has that port; port 0 is any that is free"
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}", hint) from error
    return listening


def allow_files() -> None:
    """Raise this process's limit of open files to what the most connections need, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = NEEDED_FILES if hard == resource.RLIM_INFINITY else min(NEEDED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def make_server(settings: ServerSettings) -> uvicorn.Server:
    """Return the server; `run(sockets=[...])` serves until a signal ends it."""
    app = make_app(settings)
    return _Server(
        app.state.parts,
        uvicorn.Config(
            app,
            http=PromptProtocol,
            ws=RefusingProtocol,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            log_config=None,
            log_level="error",  # what clients do wrong is theirs to know
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=AT_ONCE,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_graceful_shutdown=LEAVE_S,
        ),
    )


class _Listening(socket.socket):
    """A socket whose queue is longer than what asyncio, which takes one number for both, accepts in one go."""

    def listen(self, _backlog: int = 0, /) -> None:
        super().listen(_WAITING)


class _Server(uvicorn.Server):
    """A server whose streams end when it does."""

    def __init__(self, parts: Parts, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._parts = parts

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._parts.leaving.set()
        await super().shutdown(sockets)
