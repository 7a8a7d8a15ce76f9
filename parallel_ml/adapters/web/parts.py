"""What the routes of a server share, and how each gets at it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Path
from starlette.requests import HTTPConnection

from parallel_ml.adapters.web.followers import Followers
from parallel_ml.adapters.web.listing import Listing
from parallel_ml.adapters.web.problems import Problem
from parallel_ml.adapters.web.run_watch import RunWatch
from parallel_ml.adapters.web.runs import JOB_NAME, RUN_ID, TASK_ID, Runs
from parallel_ml.adapters.web.schemas import ProblemDetails
from parallel_ml.adapters.web.settings import ServerSettings

MOST_STREAMS = 256
MOST_SLOW = 16
MOST_STRANGERS = 32


@dataclass
class Parts:
    """What the routes of a server share.

    Attributes:
        starting: Held while a run is planned: several at once would only slow each other down.
        slow_ones: Taken by each request that may take seconds; the threads of the others must not run out.
        streams: How many clients are told of news now.
        leaving: Set when the server is to end: streams end by it, since they have no end of their own.
        strangers: How many WebSockets are open that have not said the token yet.
    """

    settings: ServerSettings
    runs: Runs
    listing: Listing
    followers: Followers
    watch: RunWatch
    starting: threading.Lock = field(default_factory=threading.Lock)
    slow_ones: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(MOST_SLOW))
    streams: int = 0
    strangers: int = 0
    leaving: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.contextmanager
    def slowly(self) -> Iterator[None]:
        """Do what may take seconds, if not too many do.

        Raises:
            Problem: Too many do.
        """
        if not self.slow_ones.acquire(blocking=False):
            hint = "try again in a moment"
            raise Problem(503, "busy", "the server is starting and ending others", hint, headers={"Retry-After": "2"})
        try:
            yield
        finally:
            self.slow_ones.release()


def make_parts(settings: ServerSettings) -> Parts:
    """Return the parts of a server."""
    runs, listing = Runs(settings), Listing(settings)
    return Parts(settings, runs, listing, Followers(runs), RunWatch(listing))


def parts_of(connection: HTTPConnection) -> Parts:
    """Return the parts of the server that a request came to."""
    parts: Parts = connection.app.state.parts
    return parts


Server = Annotated[Parts, Depends(parts_of)]
RunId = Annotated[str, Path(pattern=RUN_ID, description="The id of a run")]
JobName = Annotated[str, Path(pattern=JOB_NAME, description="The name of a job")]
TaskId = Annotated[str, Path(pattern=TASK_ID, description="The id of a task: `RUN~JOB`, or a run with one job alone")]

_PROBLEMS = {
    400: "The body is no JSON, or not as long as was said",
    401: "The token is missing or wrong",
    403: "A foreign page asks",
    404: "There is no such thing",
    408: "The body did not come in time",
    409: "It cannot be done now",
    413: "The body is too large",
    415: "The body is not JSON",
    421: "The server is not called by that name",
    422: "A value is not what it should be",
    501: "A package is not installed",
    503: "A file could not be read or written, a process not started, or there are too many clients",
}


def answers(*statuses: int, bodied: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer with, for its description.

    Args:
        statuses: Those of its own.
        bodied: Whether it takes a body.
    """
    every = {401, 403, 421, 422, 503, *statuses, *((400, 408, 413, 415) if bodied else ())}
    content = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}}
    return {status: {"description": _PROBLEMS[status], "content": content} for status in sorted(every)}
