"""Giving a run an order: to its supervisor, or to one that is started for it where none lives."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from parallel_ml.adapters.web.parts import Parts
from parallel_ml.adapters.web.problems import Problem, conflict, not_found
from parallel_ml.errors import RunLocked, UsageError
from parallel_ml.runtime.client import Order, RunClient
from parallel_ml.runtime.executor import ParallelMLExecutor

ANSWER_S = 3.0
"""A supervisor looks at its orders five times a second; what it has not answered by then, it will."""


@dataclass(frozen=True)
class Taken:
    """What became of a request: `done`, or `waiting` for the run's supervisor."""

    run: str
    job: str | None
    order: str | None
    state: str

    def to_dict(self) -> dict[str, Any]:
        """Return the answer."""
        return asdict(self)


def give(server: Parts, run: str, job: str | None, ask: Callable[[RunClient], Order]) -> Taken:
    """Have an order carried out that starts nothing: a stop, a pause.

    Raises:
        Problem: There is no such run or job, or it cannot be done now.
    """
    client, order = _asked(server, run, job, ask)
    if client.brief_status().supervisor == "gone":
        with server.slowly(), contextlib.suppress(RunLocked, UsageError):  # somebody drives it by now
            ParallelMLExecutor.resume(client.dir, environ=server.settings.environ).carry_out(order)
    return _answered(client, run, job, order)


def resume(server: Parts, run: str, job: str | None) -> Taken:
    """Let paused jobs go on, and take the run over where nobody drives it.

    Raises:
        Problem: There is no such run or job, or nothing to go on with.
    """
    client = _known(server, run, job)
    if client.brief_status().supervisor == "running":
        if job is None and not client.can_resume():
            raise Problem(409, "conflict", f"a supervisor drives run {run} already, and nothing of it is paused")
        client, order = _asked(server, run, job, lambda client: client.resume(job))
        return _answered(client, run, job, order)
    if job is not None or client.can_resume():
        _asked(server, run, job, lambda client: client.resume(job))
    elif client.at_rest():
        raise Problem(409, "conflict", f"run {run} has finished", "retry brings failed and stopped jobs back")
    return _taken_over(server, client, run, job)


def retry(server: Parts, run: str, job: str | None) -> Taken:
    """Try failed and stopped jobs again.

    Raises:
        Problem: There is no such run or job, or nothing to try again.
    """
    client, order = _asked(server, run, job, lambda client: client.retry(job))
    if client.brief_status().supervisor == "running":
        return _answered(client, run, job, order)
    return _taken_over(server, client, run, job)


def _known(server: Parts, run: str, job: str | None) -> RunClient:
    """Return a run of one's own, as its orders may take a while.

    Raises:
        Problem: It is not there, or has no such job.
    """
    client = server.runs.fresh(run)
    if job is not None and job not in client.job_names:
        raise not_found(f"run {run} has no job {job}")
    return client


def _asked(server: Parts, run: str, job: str | None, ask: Callable[[RunClient], Order]) -> tuple[RunClient, Order]:
    client = _known(server, run, job)
    try:
        return client, ask(client)
    except UsageError as error:
        raise conflict(error) from error


def _answered(client: RunClient, run: str, job: str | None, order: Order) -> Taken:
    reply = client.wait(order, ANSWER_S)
    if reply.state == "rejected":
        raise Problem(409, "conflict", f"nothing was done: {reply.reason}")
    return Taken(run, job, order.id, "done" if reply.state == "done" else "waiting")


def _taken_over(server: Parts, client: RunClient, run: str, job: str | None) -> Taken:
    with server.slowly(), server.starting:
        try:
            ParallelMLExecutor.resume(client.dir, environ=server.settings.environ).detach()
        except UsageError:  # somebody else has taken it over
            return Taken(run, job, None, "waiting")
    return Taken(run, job, None, "done")
