"""What a finished run says at its end: a line for each job, why jobs failed, and where to look further."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from parallel_ml.adapters.cli.arguments import program
from parallel_ml.adapters.cli.cells import (
    counts,
    elapsed,
    epochs,
    figure,
    heading,
    marked,
    memory_peak,
    remark,
)
from parallel_ml.adapters.cli.differences import WIDEST, configs_of, difference_lines
from parallel_ml.adapters.cli.table import Column, draw
from parallel_ml.adapters.cli.text import cell_width, number, safe
from parallel_ml.core.comparison import best_epoch, best_job, measure_of
from parallel_ml.core.differences import Rows, differences, shortened
from parallel_ml.core.status import JobResult, JobStatus, RunStatus
from parallel_ml.core.units import format_duration
from parallel_ml.monitor.last_errors import last_errors
from parallel_ml.store.layout import RunLayout

MOST_ROWS = 40
"""Jobs that have a row on a terminal; of more the best, the failed, and how the others ended."""
MOST_FAILURES = 5
"""Failed jobs whose last lines are shown; `logs` has the rest."""
_Pair = tuple[JobStatus, JobResult]


def summary_lines(status: RunStatus, results: Sequence[JobResult], width: int | None = None) -> list[str]:
    """Return the end of a run.

    Args:
        status: The run as it stands at its end.
        results: What became of its jobs, in the same order.
        width: Cells of the terminal; None is as many as wanted.
    """
    return ["", *result_lines(status, results, width), "", *_where(status)]


def result_lines(status: RunStatus, results: Sequence[JobResult], width: int | None = None) -> list[str]:
    """Return what came of the jobs: figures with the best one marked, what differed, and why some failed."""
    measure = measure_of(results)
    epochs_found = {result.name: best_epoch(result, measure) for result in results}
    values = {name: found and found[0] for name, found in epochs_found.items()}
    winner = best_job(results, values, measure.what, lowest=measure.lowest)
    best, mark = (winner[0], [f"* best {winner[1]}"]) if winner else (None, [])
    pairs = list(zip(status.jobs, results, strict=True))
    shown = pairs if width is None else _ranked(pairs, values, best, lowest=measure.lowest)
    jobs = [job for job, _ in shown]
    table = _table(shown, epochs_found, measure.title, best)
    configs = configs_of(jobs)
    beside = shortened(differences(configs, [column.title for column in table]))
    lines, told = _laid_out(table, beside, shown, width)
    block = [] if told else ["", *difference_lines(jobs, shortened(differences(configs)), best, width)]
    rows, below = lines[: len(jobs) + 1], lines[len(jobs) + 1 :]
    return [*rows, *_more(status.jobs, jobs), *mark, *below, *block, *_recoveries(jobs), *_failures(status)]


def _laid_out(table: list[Column], rows: Rows, shown: Sequence[_Pair], width: int | None) -> tuple[list[str], bool]:
    """Return the table as lines, and whether it has `rows`; what each job left or why it failed is beside or below."""
    ends = [_end(job, result) for job, result in shown]
    end, differing = Column("model or error", ends), [Column(key, values) for key, values in rows]
    named = [f"{safe(job.name)}: {told}" for (job, _), told in zip(shown, ends, strict=True) if told]
    below = ["", *named] if named else []
    room = width or WIDEST
    for columns in ([*table, *differing, end], [*table, *differing], [*table, end]):
        lines = draw(columns)
        if max(map(cell_width, lines)) <= room:
            return [*lines, *([] if columns[-1] is end else below)], columns[len(table) :][: len(rows)] == differing
    return [*draw(table, width), *below], not rows


def shown_path(result: JobResult) -> str:
    """Return where the model is, relative to here where it is below; "" where there is none."""
    model = result.paths.get("model")
    return _from_here(model) if model and Path(model).exists() else ""


def _end(job: JobStatus, result: JobResult) -> str:
    return remark(job) if job.state == "failed" else shown_path(result)


def _table(
    shown: Sequence[_Pair], best_epochs: Mapping[str, tuple[float, int | None] | None], title: str, best: str | None
) -> list[Column]:
    jobs = [job for job, _ in shown]
    found = [best_epochs[job.name] or (None, None) for job in jobs]
    return [
        Column("job", marked([job.name for job in jobs], best), floor=10),
        Column("state", [job.state for job in jobs]),
        Column("epochs", [epochs(job) for job in jobs], right=True, rank=4),
        Column(f"best {title}", [figure(value) for value, _ in found], right=True, rank=2),
        Column("in epoch", [number(epoch) for _, epoch in found], right=True, rank=5),
        Column("test acc", [figure(result.metrics.get("test_accuracy")) for _, result in shown], right=True, rank=1),
        Column("time", [elapsed(job) for job in jobs], right=True, rank=3),
        Column("memory", [memory_peak(job) for job in jobs], right=True, rank=6),
        Column("GPU mem", [memory_peak(job, "gpu_memory") for job in jobs], right=True, rank=7),
    ]


def _ranked(
    pairs: Sequence[_Pair], values: Mapping[str, float | None], best: str | None, *, lowest: bool
) -> list[_Pair]:
    """Return the jobs that have a row: all where they are few, else the best ones and some that failed."""
    if len(pairs) <= MOST_ROWS:
        return list(pairs)

    def place(pair: _Pair) -> tuple[bool, float]:
        value = values[pair[0].name]
        return pair[0].name != best, math.inf if value is None else value if lowest else -value

    failed = [pair for pair in pairs if pair[0].state == "failed"][: MOST_ROWS // 4]
    others = sorted((pair for pair in pairs if pair[0].state != "failed"), key=place)
    return [*others[: MOST_ROWS - len(failed)], *failed]


def _more(jobs: Sequence[JobStatus], shown: Sequence[JobStatus]) -> list[str]:
    names = {job.name for job in shown}
    hidden = [job for job in jobs if job.name not in names]
    return [f"+{len(hidden)} more: {counts(hidden)}"] if hidden else []


def _failures(status: RunStatus) -> list[str]:
    """Return the last lines of the first jobs that failed with some, and how many failed that are not among them."""
    failed = [job for job in status.jobs if job.state == "failed"]
    with_words = (
        (job, tail) for job in failed if (tail := last_errors(job.paths.get("log"))) or job.failure is not None
    )
    told = list(islice(with_words, MOST_FAILURES))
    lines = []
    for job, tail in told:
        lines += ["", *_diagnosis(job, tail)]
        lines.append(f"    (its log: {_from_here(job.paths['log'] or '')})")
    if told and len(told) < len(failed):
        lines += ["", f"+{len(failed) - len(told)} more failed"]
    return lines


def _diagnosis(job: JobStatus, tail: Sequence[str]) -> list[str]:
    """Return what a failure looks like, what to try, and the last lines of the job's standard error."""
    last = ["  the last lines of its stderr:", *(f"    {line}" for line in tail)] if tail else []
    if job.failure is None:
        return [f"{safe(job.name)} failed", *last]
    likely, evidence = "probably " if job.failure["suspected"] else "", job.failure["evidence"]
    first = f"{safe(job.name)} failed: {likely}{job.failure['words']}"
    told = [f"  {safe(evidence)}"] if evidence and evidence not in tail else []
    return [first, *told, f"  try: {job.failure['advice']}", *last]


def _recoveries(jobs: Sequence[JobStatus]) -> list[str]:
    """Return what was done for jobs that ran out of memory."""
    told = [(job, step) for job in jobs for step in job.recoveries]
    return ["", *(f"{safe(job.name)} ran out of memory: {safe(step)}" for job, step in told)] if told else []


def _where(status: RunStatus) -> list[str]:
    took = _took(status)
    report = RunLayout(Path(status.dir)).report("html")
    first = heading(status) + (f", in {format_duration(took)}" if took is not None else "")
    run = safe(status.run)
    unsent = [f"{safe(line)}; later: {program()} notify flush {run}" for line in status.undelivered]
    return [
        first,
        *unsent,
        f"see {_from_here(status.dir)}, or: {program()} status {run}",
        *([f"the report: {_from_here(str(report))}"] if report.exists() else []),
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
