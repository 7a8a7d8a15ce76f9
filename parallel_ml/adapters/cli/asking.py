"""Giving a run an order and waiting for what becomes of it: what `stop`, `pause`, `resume` and `retry` share."""

from __future__ import annotations

import contextlib
import time

from parallel_ml.adapters.cli.text import safe
from parallel_ml.errors import RunLocked, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from parallel_ml.core.status import JobStatus
    from parallel_ml.runtime.client import Order, RunClient

ANSWER_S = 15.0
"""A supervisor looks at its orders five times a second; one that is silent for so long is stuck."""
LOOK_S = 0.1


def give(client: RunClient, order: Order) -> None:
    """Have an order carried out: by the run's supervisor, or here where nobody drives the run.

    Raises:
        UsageError: It was refused, or the supervisor does not answer.
    """
    if client.brief_status().supervisor == "gone":
        _be_the_supervisor(client, order)
    await_answer(client, order)


def await_answer(client: RunClient, order: Order) -> None:
    """Wait until the run's supervisor has answered.

    Raises:
        UsageError: It refused, or does not answer.
    """
    reply = client.wait(order, ANSWER_S)
    if reply.state == "rejected":
        raise UsageError(f"nothing was done: {reply.reason}")
    if reply.state == "unanswered":
        raise UsageError("the supervisor does not answer", "the order is kept; look at the supervisor.log of the run")


def wait_for(client: RunClient, names: list[str], there: Callable[[JobStatus], bool]) -> list[JobStatus]:
    """Return the jobs once all are where they should be.

    Raises:
        UsageError: The supervisor went away meanwhile.
    """
    while True:
        status = client.brief_status()
        jobs = [job for job in status.jobs if job.name in names]
        if all(map(there, jobs)):
            return jobs
        if status.supervisor != "running":
            left = [job.name for job in jobs if not there(job)]
            raise UsageError(f"the supervisor has gone before it was done with {some(left)}", "see status")
        time.sleep(LOOK_S)


def some(names: list[str], most: int = 5) -> str:
    """Return the first few names as safe text."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return safe(", ".join(names[:most])) + more


def _be_the_supervisor(client: RunClient, order: Order) -> None:
    """Carry the order out here, since nobody else drives the run; another one who does by now is as good."""
    from parallel_ml.runtime.executor import ParallelMLExecutor  # noqa: PLC0415 - heavy, and rarely needed

    with contextlib.suppress(RunLocked):
        ParallelMLExecutor.resume(client.dir).carry_out(order)
