"""Giving a run an order for somebody who does not wait at a terminal: a server's client, or an assistant.

Where nobody drives the run, what brings jobs back gets a supervisor in the background, which outlives this process.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from parallel_ml.errors import RunLocked, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parallel_ml.runtime.client import Order, RunClient
    from parallel_ml.runtime.executor import ParallelMLExecutor

ANSWER_S = 15.0
"""A supervisor looks at its orders five times a second; one that is silent for so long is stuck."""


def stop(client: RunClient, environ: Mapping[str, str], job: str | None = None, *, at_once: bool = False) -> None:
    """Have one job, or all, stopped. It may take its grace after this returns.

    Raises:
        UsageError: There is nothing to stop, or it was refused.
    """
    _end(client, environ, client.stop(job, at_once=at_once))


def pause(client: RunClient, environ: Mapping[str, str], job: str | None = None, *, freeze: bool = False) -> None:
    """Have one job, or all, paused. Saving may take a while after this returns.

    Raises:
        UsageError: There is nothing to pause, or it was refused.
    """
    _end(client, environ, client.pause(job, freeze=freeze))


def resume(client: RunClient, environ: Mapping[str, str], job: str | None = None) -> None:
    """Let one paused job, or all of them, go on; and drive a run on that nobody drives.

    Raises:
        UsageError: There is nothing to go on with, or it was refused.
    """
    if job is None and not client.can_resume() and not _is_driven(client):
        _executor(client, environ).detach()
    else:
        _bring_back(client, environ, client.resume(job))


def retry(client: RunClient, environ: Mapping[str, str], job: str | None = None) -> None:
    """Have one failed or stopped job, or all of them, tried again.

    Raises:
        UsageError: There is nothing to retry, or it was refused.
    """
    _bring_back(client, environ, client.retry(job))


def _end(client: RunClient, environ: Mapping[str, str], order: Order) -> None:
    if not _is_driven(client):
        with contextlib.suppress(RunLocked, UsageError):  # somebody drives it by now, and has the order
            _executor(client, environ).carry_out(order)
    _await_answer(client, order)


def _bring_back(client: RunClient, environ: Mapping[str, str], order: Order) -> None:
    if not _is_driven(client):
        with contextlib.suppress(UsageError):  # as above
            _executor(client, environ).detach()
    _await_answer(client, order)


def _is_driven(client: RunClient) -> bool:
    return client.brief_status().supervisor == "running"


def _executor(client: RunClient, environ: Mapping[str, str]) -> ParallelMLExecutor:
    from parallel_ml.runtime.executor import ParallelMLExecutor  # noqa: PLC0415 - heavy, and rarely needed

    return ParallelMLExecutor.resume(client.dir, environ=environ)


def _await_answer(client: RunClient, order: Order) -> None:
    reply = client.wait(order, ANSWER_S)
    if reply.state == "rejected":
        raise UsageError(f"nothing was done: {reply.reason}")
    if reply.state == "unanswered":
        raise UsageError("the supervisor does not answer", "the order is kept; look at the supervisor.log of the run")
