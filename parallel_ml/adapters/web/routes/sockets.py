"""`/ws`: the same messages over a WebSocket. The token comes in a header, as a subprotocol, or first of all."""

from __future__ import annotations

import asyncio
import contextlib
import json

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from parallel_ml.adapters.web.guard import bearer, is_token
from parallel_ml.adapters.web.json_response import as_json
from parallel_ml.adapters.web.parts import MOST_STRANGERS, MOST_STREAMS, Parts, parts_of
from parallel_ml.adapters.web.problems import Problem
from parallel_ml.adapters.web.streams import MAX_ID, Dropped, Stream, end, read_id

router = APIRouter()
PROTOCOL = "parallel-ml"
_TOKEN_PROTOCOL = "parallel-ml.token."  # noqa: S105 - what stands before the token
FIRST_S = 10.0
SEND_S = 15.0
_POLICY, _TRY_AGAIN = 1008, 1013
"""Close codes of RFC 6455 and of its registry."""


@router.websocket("/ws")
async def news(socket: WebSocket) -> None:
    """Tell the news of a run (`?run=`), or of all runs under way; `?last_event_id=` tells what was missed."""
    server = parts_of(socket)
    token = server.settings.token
    offered = [str(word) for word in socket.scope.get("subprotocols", [])]
    given = [word.removeprefix(_TOKEN_PROTOCOL) for word in offered if word.startswith(_TOKEN_PROTOCOL)]
    known = any(is_token(one, token) for one in (*given, bearer(socket.scope)))
    says_wrong = bool(given) or "authorization" in socket.headers
    if not known and (says_wrong or server.strangers >= MOST_STRANGERS):
        await socket.close(_POLICY)
        return
    await socket.accept(PROTOCOL if PROTOCOL in offered else None)
    if not known and not await _says_token(socket, server):
        await _close(socket, _POLICY, "the token is missing or wrong")
        return
    if server.streams >= MOST_STREAMS:
        await _close(socket, _TRY_AGAIN, "too many clients")
        return
    server.streams += 1
    try:
        await _serve(socket, server)
    finally:
        server.streams -= 1


async def _says_token(socket: WebSocket, server: Parts) -> bool:
    """Whether the first message is `{"type": "auth", "token": ...}` with the token."""
    server.strangers += 1
    try:
        said = json.loads(await asyncio.wait_for(socket.receive_text(), FIRST_S))
    except (ValueError, KeyError, RecursionError, TimeoutError, asyncio.TimeoutError, WebSocketDisconnect):
        return False
    finally:
        server.strangers -= 1
    given = said.get("token") if isinstance(said, dict) and said.get("type") == "auth" else None
    return isinstance(given, str) and is_token(given, server.settings.token)


async def _serve(socket: WebSocket, server: Parts) -> None:
    """Tell the news until the client leaves, or is too slow."""
    run = socket.query_params.get("run") or None
    last_id = socket.query_params.get("last_event_id") or None
    stream = Stream(server.followers, None if run else server.watch, run)
    sending = asyncio.ensure_future(_send(socket, stream, last_id))
    leaving = asyncio.ensure_future(_until_it_leaves(socket))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await end(task)


async def _send(socket: WebSocket, stream: Stream, last_id: str | None) -> None:
    try:
        if last_id is not None:
            read_id(last_id[: MAX_ID + 1])
        async with contextlib.aclosing(stream.messages(last_id)) as messages:
            async for message in messages:
                if message is not None:  # the protocol's own pings keep it alive
                    await asyncio.wait_for(socket.send_text(as_json(message)), SEND_S)
    except Problem as problem:
        await _close(socket, _POLICY, problem.detail)
    except (Dropped, TimeoutError, asyncio.TimeoutError):
        await _close(socket, _TRY_AGAIN, "too slow: come back with the last id")


async def _until_it_leaves(socket: WebSocket) -> None:
    """Read what the client sends; nothing is expected of it."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError, asyncio.TimeoutError):
        await asyncio.wait_for(socket.close(code, reason.encode()[:120].decode(errors="ignore")), SEND_S)
