"""What a finished run says at its end: a line for each job, why jobs failed, and where to look further."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from parallel_ml.adapters.cli.arguments import program
from parallel_ml.adapters.cli.cells import best_job, elapsed, epochs, finite, heading, marked, memory_peak, remark
from parallel_ml.adapters.cli.table import Column, draw
from parallel_ml.adapters.cli.text import cell_width, number, safe
from parallel_ml.core.status import JobResult, JobStatus, RunStatus
from parallel_ml.core.units import format_duration
from parallel_ml.errors import StoreError
from parallel_ml.monitor.follow import last_log_lines, parse_line
from parallel_ml.store.layout import JobLayout

STDERR_LINES = 5
MOST_FAILURES = 5
"""Failed jobs whose last lines are shown; `logs` has the rest."""
_TAIL_BYTES = 64 * 1024


def summary_lines(status: RunStatus, results: Sequence[JobResult], width: int | None = None) -> list[str]:
    """Return the end of a run.

    Args:
        status: The run as it stands at its end.
        results: What became of its jobs, in the same order.
        width: Cells of the terminal; None is as many as wanted.
    """
    best = best_job(results, {result.name: best_val_accuracy(result) for result in results})
    table = _table(status, results, best)
    ends = [_end(job, result) for job, result in zip(status.jobs, results, strict=True)]
    wide = draw([*table, Column("model or error", ends)])
    if width is None or max(map(cell_width, wide)) <= width:
        lines = wide
    else:
        named = [f"{safe(job.name)}: {end}" for job, end in zip(status.jobs, ends, strict=True) if end]
        lines = [*draw(table, width), "", *named]
    mark = [f"* best {best[1]}"] if best else []
    return ["", *lines, *mark, *_failures(status), "", *_where(status)]


def best_val_accuracy(result: JobResult) -> float | None:
    """Return the best validation accuracy of all epochs."""
    return max(
        (value for value in map(finite, result.history.get("val_accuracy", [])) if value is not None), default=None
    )


def shown_path(result: JobResult) -> str:
    """Return where the model is, relative to here where it is below; "" where there is none."""
    model = result.paths.get("model")
    return _from_here(model) if model and Path(model).exists() else ""


def last_errors(log: str | None, most: int = STDERR_LINES) -> list[str]:
    """Return the last lines that a job wrote to its standard error."""
    if not log:
        return []
    try:
        lines = last_log_lines(Path(log), JobLayout(Path(log).parent).older_log, _TAIL_BYTES)
    except (OSError, StoreError):
        return []
    records = [record for line in lines if (record := parse_line(line)) is not None]
    texts = [safe(str(record.get("message", "")).expandtabs()) for record in records if record.get("type") == "stderr"]
    return [text for text in texts if text.strip()][-most:]


def _end(job: JobStatus, result: JobResult) -> str:
    return remark(job) if job.state == "failed" else shown_path(result)


def _table(status: RunStatus, results: Sequence[JobResult], best: tuple[str, str] | None) -> list[Column]:
    jobs = status.jobs
    return [
        Column("job", marked([job.name for job in jobs], best and best[0]), floor=10),
        Column("state", [job.state for job in jobs]),
        Column("epochs", [epochs(job) for job in jobs], right=True, rank=3),
        Column("best val acc", [number(best_val_accuracy(result)) for result in results], right=True, rank=2),
        Column("test acc", [number(result.metrics.get("test_accuracy")) for result in results], right=True, rank=1),
        Column("time", [elapsed(job) for job in jobs], right=True, rank=4),
        Column("memory", [memory_peak(job) for job in jobs], right=True, rank=5),
        Column("GPU memory", [memory_peak(job, "gpu_memory_peak_mb") for job in jobs], right=True, rank=6),
    ]


def _failures(status: RunStatus) -> list[str]:
    """Return the last lines of the first jobs that failed with some, and how many failed that are not among them."""
    failed = [job for job in status.jobs if job.state == "failed"]
    with_words = ((job, tail) for job in failed if (tail := last_errors(job.paths.get("log"))))
    told = list(islice(with_words, MOST_FAILURES))
    lines = []
    for job, tail in told:
        lines += ["", f"{safe(job.name)} failed; the last lines of its stderr:", *(f"    {line}" for line in tail)]
    if told and len(told) < len(failed):
        lines += ["", f"+{len(failed) - len(told)} more failed"]
    return lines


def _where(status: RunStatus) -> list[str]:
    took = _took(status)
    first = heading(status) + (f", in {format_duration(took)}" if took is not None else "")
    run = safe(status.run)
    return [
        first,
        f"see {_from_here(status.dir)}, or: {program()} status {run}",
        f"what the jobs printed: {program()} logs {run}",
    ]


def _took(status: RunStatus) -> float | None:
    ends = [job.ended for job in status.jobs if job.ended]
    if not ends or status.created is None:
        return None
    return (datetime.fromisoformat(max(ends)) - datetime.fromisoformat(status.created)).total_seconds()


def _from_here(path: str) -> str:
    here = os.path.relpath(path)
    return safe(path if here.startswith("..") else here)
