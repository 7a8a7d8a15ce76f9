"""uvicorn's HTTP protocol with limits that it lacks: of connections, and of waiting for a request's head."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 15.0
MOST_CONNECTIONS = 600
"""Idle ones and WebSockets included; whoever comes on top is cut off at once: file descriptors must not run out."""


class PromptProtocol(H11Protocol):
    """Closes a connection that is one too many, or whose next request, line and headers, is not there in `HEAD_S`."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        too_many = len(self.connections) >= MOST_CONNECTIONS
        super().connection_made(transport)
        if too_many:
            transport.abort()
        else:
            self._wait()

    def handle_events(self) -> None:
        """Take what has come in; a request that is whole is not waited for any more."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._cease()

    def handle_websocket_upgrade(self, event: object) -> None:
        """Hand the connection to the WebSocket's protocol, which has limits of its own."""
        self._cease()
        super().handle_websocket_upgrade(event)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._wait()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._cease()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._cease()
        self._patience = self.loop.call_later(HEAD_S, self.transport.abort)

    def _cease(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
