"""Server-sent events: messages as text, a comment where nothing happens, and no patience with who does not read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from parallel_ml.adapters.web.json_response import as_json
from parallel_ml.adapters.web.problems import Problem
from parallel_ml.adapters.web.streams import Dropped, end

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from parallel_ml.adapters.web.parts import Parts

SEND_S = 15.0
RETRY_MS = 2000
_NOTHING = b": still here\n\n"


class EventResponse(Response):
    """A stream of messages; it ends when the client leaves, or does not read what is sent."""

    media_type = "text/event-stream"

    def __init__(self, messages: AsyncGenerator[dict[str, Any] | None, None], server: Parts) -> None:
        """Send `messages`; None is a sign of life. The place among the server's streams is given back at the end."""
        super().__init__()
        self._messages, self._server = messages, server
        headers = (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")
        self.raw_headers = [(b"content-type", b"text/event-stream; charset=utf-8"), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the interface
        """Send them."""
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_until_it_leaves(receive))
        ending = asyncio.ensure_future(self._server.leaving.wait())
        try:
            await asyncio.wait({sending, leaving, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._server.streams -= 1
            for task in (sending, leaving, ending):
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await end(task)
            await self._messages.aclose()
        if self._server.leaving.is_set():
            with contextlib.suppress(OSError, TimeoutError, asyncio.TimeoutError, RuntimeError):
                await _put(send, b"", more=False)  # RuntimeError: it had come to its end, or not to its beginning

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):  # nobody reads: the connection is closed
            await _put(send, f"retry: {RETRY_MS}\n\n".encode())
            with contextlib.suppress(Dropped, Problem):
                async for message in self._messages:
                    await _put(send, _NOTHING if message is None else _event(message))
            await _put(send, b"", more=False)


async def _put(send: Send, data: bytes, *, more: bool = True) -> None:
    await asyncio.wait_for(send({"type": "http.response.body", "body": data, "more_body": more}), SEND_S)


async def _until_it_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(message: dict[str, Any]) -> bytes:
    """Return a message as an event; JSON in ASCII has no line breaks."""
    return f"id: {message['id']}\nevent: {message['type']}\ndata: {as_json(message)}\n\n".encode("ascii", "replace")
