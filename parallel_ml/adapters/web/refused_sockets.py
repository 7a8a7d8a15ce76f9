"""uvicorn's WebSocket protocol, without an error in its log for each handshake that is refused with a status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class RefusingProtocol(WebSocketsSansIOProtocol):
    """Knows that a handshake is over once it was answered, whatever the answer was."""

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True
