"""The MCP server: runs as tools and resources for assistants. Needs the extra `mcp`.

What the tools do stands in `mcp_runs`, what they answer in `mcp_answers`, the transport over HTTP in `mcp_http`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from parallel_ml import __version__
from parallel_ml.adapters.mcp_answers import LogsAnswer, RunAnswer, RunsAnswer, ValidationAnswer
from parallel_ml.adapters.mcp_runs import Served, last_lines, progress, status_of
from parallel_ml.core.status import RunStatus
from parallel_ml.errors import InvalidTransition, ParallelMLError, UsageError
from parallel_ml.runtime.client import RunClient

INSTRUCTIONS = """\
Trains several configurations side by side on the GPUs of this machine. run_parallel_pipeline starts a run in the \
background and answers at once with its id; it goes on when this session ends. get_parallel_status says how it stands, \
with wait_s it waits for the end. Without a run, the newest one is meant. Validate configurations before you start them.
"""
LOOK_S = 0.5
MOST_LINES = 1000
MOST_PROBLEMS = 20
_FINISHED = frozenset({"completed", "failed", "stopped"})
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_STARTS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)
"""It adds to what is there; what the user's programs do in the world is theirs."""
_PAUSES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_GOES_ON = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
_STOPS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
"""What a job has not saved yet is lost."""

T = TypeVar("T")
Run = Annotated[
    str | None, Field(description="the run's id, the beginning of it, or its name; left out: the newest run")
]
Job = Annotated[str | None, Field(description="the name of one job; left out: all jobs of the run")]
Configs = Annotated[
    list[str] | None,
    Field(description="YAML files, folders or globs below the served folder; left out: all of the folder config/"),
]
Wait = Annotated[float, Field(ge=0, le=600, description="seconds to wait for it; what happens meanwhile is progress")]


def make_server(served: Served) -> MCPServer[None]:
    """Return a server over what is served."""
    server: MCPServer[None] = MCPServer(
        "parallel_ml",
        title="parallel_ml",
        version=__version__,
        instructions=INSTRUCTIONS,
        log_level="WARNING",
    )
    _add_reading(server, served)
    _add_starting(server, served)
    _add_orders(server, served)
    _add_resources(server, served)
    return server


def _add_reading(server: MCPServer[None], served: Served) -> None:
    """Add the tools that change nothing."""

    @server.tool(title="How a run stands", annotations=_READS)
    async def get_parallel_status(ctx: Context, run: Run = None, job: Job = None, wait_s: Wait = 0) -> RunAnswer:
        """Say how a run and its jobs stand: states, epochs, metrics, errors; with wait_s after waiting for its end."""
        client = await _told(partial(served.find, run))
        answer = await _told(partial(status_of, client, job))
        if wait_s and any(one.state not in _FINISHED for one in answer.jobs):
            await _wait(ctx, client, partial(_ended, job), wait_s)
            answer = await _told(partial(status_of, client, job))
        return answer

    @server.tool(title="What the jobs print", annotations=_READS)
    async def get_parallel_logs(
        run: Run = None,
        job: Job = None,
        lines: Annotated[int, Field(ge=1, le=MOST_LINES, description="how many of the last lines")] = 100,
        errors: Annotated[bool, Field(description="leave out what went to stdout")] = False,  # noqa: FBT002
    ) -> LogsAnswer:
        """Return the last lines that a run's jobs printed, with what the supervisor has to say of them."""
        client = await _told(partial(served.find, run))
        return await _told(partial(last_lines, client, job, lines, errors=errors))

    @server.tool(title="All runs", annotations=_READS)
    async def list_parallel_runs(most: Annotated[int, Field(ge=1, le=500)] = 20) -> RunsAnswer:
        """List the runs, newest first."""
        return await _told(partial(served.list, most))

    @server.tool(title="Check configurations", annotations=_READS)
    async def validate_parallel_configs(configs: Configs = None) -> ValidationAnswer:
        """Check configurations as a run would before it starts, and start nothing."""
        return await _told(partial(served.validate, configs))


def _add_starting(server: MCPServer[None], served: Served) -> None:
    @server.tool(title="Train configurations side by side", annotations=_STARTS)
    async def run_parallel_pipeline(
        configs: Configs = None,
        name: Annotated[str | None, Field(description="a name for the run")] = None,
        max_parallel: Annotated[int | None, Field(ge=1, description="the most jobs at once")] = None,
        gpus: Annotated[str | None, Field(description="auto, none, or simulated ones such as sim:2x16GiB")] = None,
    ) -> RunAnswer:
        """Start training configurations side by side in the background, and answer at once with the run's id.

        The run goes on when this session ends; nothing is started where anything is wrong with a configuration.
        """
        return await _told(partial(served.start, configs, name, max_parallel, gpus))


def _add_orders(server: MCPServer[None], served: Served) -> None:
    """Add the tools that end jobs or bring them back."""

    @server.tool(title="Stop a run", annotations=_STOPS)
    async def stop_parallel_execution(
        ctx: Context,
        run: Run = None,
        job: Job = None,
        at_once: Annotated[bool, Field(description="kill instead of asking first")] = False,  # noqa: FBT002
        wait_s: Wait = 20,
    ) -> RunAnswer:
        """Stop a run, or one job of it: each is asked to end first, and killed when its grace is over."""
        client = await _told(partial(served.find, run))
        await _told(partial(served.stop, client, job, at_once=at_once))
        await _wait(ctx, client, partial(_ended, job), wait_s)
        return await _told(partial(status_of, client, job))

    @server.tool(title="Pause a run", annotations=_PAUSES)
    async def pause_parallel_execution(ctx: Context, run: Run = None, job: Job = None, wait_s: Wait = 20) -> RunAnswer:
        """Save and end a run's jobs, or one of them, so that its GPU is free; resume lets them go on from there."""
        client = await _told(partial(served.find, run))
        await _told(partial(served.pause, client, job))
        await _wait(ctx, client, partial(_at_rest, job), wait_s)
        return await _told(partial(status_of, client, job))

    @server.tool(title="Resume a run", annotations=_GOES_ON)
    async def resume_parallel_execution(run: Run = None, job: Job = None) -> RunAnswer:
        """Let paused jobs go on, and take a run over whose supervisor is gone; in the background."""
        client = await _told(partial(served.find, run))
        await _told(partial(served.resume, client, job))
        return await _told(partial(status_of, client, job))

    @server.tool(title="Retry failed jobs", annotations=_STARTS)
    async def retry_parallel_execution(run: Run = None, job: Job = None) -> RunAnswer:
        """Try failed or stopped jobs again from their last checkpoint, in the background."""
        client = await _told(partial(served.find, run))
        await _told(partial(served.retry, client, job))
        return await _told(partial(status_of, client, job))


def _add_resources(server: MCPServer[None], served: Served) -> None:
    @server.resource("parallel-ml://runs", title="All runs", mime_type="application/json")
    async def runs() -> str:
        """The runs, newest first; each has a status, logs and a report."""
        return (await _read(partial(served.list, 500))).model_dump_json()

    @server.resource("parallel-ml://runs/{run}", title="A run", mime_type="application/json")
    async def run(run: str) -> str:
        """How a run and its jobs stand."""
        return (await _read(lambda: status_of(served.find(run), None))).model_dump_json()

    @server.resource("parallel-ml://runs/{run}/logs/{job}", title="A job's log", mime_type="text/plain")
    async def log(run: str, job: str) -> str:
        """The last lines that a job printed."""
        told = await _read(lambda: last_lines(served.find(run), job, MOST_LINES))
        return "".join(f"{'-- ' if line.type == 'system' else ''}{line.message}\n" for line in told.lines)

    @server.resource("parallel-ml://runs/{run}/report", title="A run's report", mime_type="text/markdown")
    async def report(run: str) -> str:
        """The report: a row for each job, the winner, what differed, failures, alerts, versions."""
        return await _read(lambda: served.report(served.find(run)))


async def _told(call: Callable[[], T]) -> T:
    """Do something in a thread; what is no bug of ours becomes an answer that says what is wrong.

    Raises:
        ToolError: It cannot be done.
    """
    try:
        return await anyio.to_thread.run_sync(call)
    except InvalidTransition:
        raise
    except (ParallelMLError, OSError) as error:
        raise ToolError(_said(error)) from error


async def _read(call: Callable[[], T]) -> T:
    """Do the same for a resource.

    Raises:
        ResourceError: It is not there, or cannot be read.
    """
    try:
        return await anyio.to_thread.run_sync(call)
    except UsageError as error:
        raise ResourceNotFoundError(str(error)) from error
    except InvalidTransition:
        raise
    except (ParallelMLError, OSError) as error:
        raise ResourceError(_said(error)) from error


def _said(error: Exception) -> str:
    """Return what to tell of an error: a sentence, or one for each of the first things that are wrong."""
    lines = str(error).splitlines()
    more = [f"+{len(lines) - MOST_PROBLEMS} more"] if len(lines) > MOST_PROBLEMS else []
    return "\n".join([*lines[:MOST_PROBLEMS], *more])


async def _wait(ctx: Context, client: RunClient, there: Callable[[RunStatus], bool], wait_s: float) -> None:
    """Wait until a run is where it should be, and tell how far it is whenever that has changed."""
    give_up_at = time.monotonic() + wait_s
    told = -1.0
    while True:
        status = await _told(client.table_status)
        done, words = progress(status)
        if done > told:
            await ctx.report_progress(done, len(status.jobs), words)
            told = done
        if there(status) or time.monotonic() >= give_up_at:
            return
        await anyio.sleep(min(LOOK_S, max(0.0, give_up_at - time.monotonic())))


def _ended(job: str | None, status: RunStatus) -> bool:
    return all(one.state in _FINISHED for one in status.jobs if job in (None, one.name))


def _at_rest(job: str | None, status: RunStatus) -> bool:
    """Whether nothing is about to be paused any more."""
    return not any(one.pausing for one in status.jobs if job in (None, one.name))
