"""A run's status as people see it: where it stands, its notes, a row for each job."""

from __future__ import annotations

from parallel_ml.adapters.cli.cells import heading, job_columns, job_notes, staleness
from parallel_ml.adapters.cli.table import draw
from parallel_ml.adapters.cli.text import ago, safe, shorten
from parallel_ml.core.comparison import best_job
from parallel_ml.core.status import FINISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from parallel_ml.core.status import JobResult, RunStatus


def status_lines(status: RunStatus, width: int | None = None, results: Sequence[JobResult] | None = None) -> list[str]:
    """Return a status as lines of at most `width` cells; `results` adds what came of a run that has finished."""
    first = heading(status)
    if status.state in FINISHED and status.as_of_age_s is not None:
        first += f", {ago(status.as_of_age_s)}"
    stale = staleness(status)
    lines = [
        first,
        safe(status.dir),
        *([stale] if stale else []),
        *(f"note: {safe(note)}" for note in (*status.notes, *status.undelivered)),
        "",
    ]
    if width is not None:
        lines = [shorten(line, width) for line in lines]
    if results is not None:
        from parallel_ml.adapters.cli.summary import result_lines  # noqa: PLC0415 - only where a run has finished

        return [*lines, *result_lines(status, results, width)]
    best = best_job(status.jobs)
    table = draw(job_columns(status.jobs, best=best and best[0]), width, job_notes(status.jobs))
    return [*lines, *table, *([f"* best {best[1]}"] if best else [])]
