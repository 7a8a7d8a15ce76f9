"""The event streams: server-sent events of one run, or of all runs under way, and where they left off."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Header

from parallel_ml.adapters.web.event_response import EventResponse
from parallel_ml.adapters.web.parts import MOST_STREAMS, Parts, RunId, Server, answers
from parallel_ml.adapters.web.problems import Problem
from parallel_ml.adapters.web.streams import MAX_ID, Stream, read_id

router = APIRouter(prefix="/api/v1", tags=["events"])
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Messages as server-sent events: `id`, and `data` with a JSON object that has type, task_id, "
        "run, timestamp. Types: hello, epoch_progress (epoch, epochs, metrics), job_state (state), attempt_ended, "
        "out_of_memory, supervisor. Send the last id as Last-Event-ID to be told what was missed.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
LastId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=MAX_ID, description="The last id seen")]


@router.get(
    "/runs/{run}/events", status_code=200, response_class=EventResponse, responses={**answers(404, 409), **_STREAM}
)
async def run_events(server: Server, run: RunId, last_event_id: LastId = None) -> EventResponse:
    """Tell the news of a run."""
    return await _answer(server, run, last_event_id)


@router.get("/events", status_code=200, response_class=EventResponse, responses={**answers(409), **_STREAM})
async def all_events(server: Server, last_event_id: LastId = None) -> EventResponse:
    """Tell the news of all runs under way, and of those that begin."""
    return await _answer(server, None, last_event_id)


async def _answer(server: Parts, run: str | None, last_id: str | None) -> EventResponse:
    """Return the answer once its first message is known to come: what is wrong is still a problem then."""
    if last_id:
        read_id(last_id)
    if server.streams >= MOST_STREAMS:
        raise Problem(503, "too-many", "too many clients are told of news already", "try again later")
    server.streams += 1  # before anything is waited for: others come meanwhile
    try:
        stream = Stream(server.followers, None if run else server.watch, run)
        messages = stream.messages(last_id)
        first = await anext(messages)
    except BaseException:
        server.streams -= 1
        raise
    return EventResponse(_after(first, messages), server)


async def _after(
    first: dict[str, Any] | None, messages: AsyncGenerator[dict[str, Any] | None, None]
) -> AsyncGenerator[dict[str, Any] | None, None]:
    async with contextlib.aclosing(messages):
        yield first
        async for message in messages:
            yield message
