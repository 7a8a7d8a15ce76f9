"""How the jobs of a run stand, as cells and as one table with the best job marked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from parallel_ml.core.status import JobResult, JobStatus
from parallel_ml.core.units import MIB, format_duration, format_size
from parallel_ml.notify.best import best_epoch, finite, lowest_is_best, measure_of, told_metrics
from parallel_ml.notify.message import Table
from parallel_ml.notify.words import known, word

MOST_ROWS = 40
_ORDER = ("completed", "failed", "stopped", "paused", "running", "pending")
_LONGEST_ERROR = 80


def figure(value: Any) -> str:
    """Return a metric's value for people.

    >>> figure(0.93216), figure(3), figure(1e-07), figure("nan")
    ('0.9322', '3', '1e-07', 'nan')
    """
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def device_of(allocation: Mapping[str, Any] | None) -> str:
    """Return where a job runs, and its share.

    >>> device_of({"gpu_index": 0, "memory_limit": 8192}), device_of({"gpu_index": None}), device_of(None)
    ('GPU 0 8GiB', 'CPU', '')
    """
    if allocation is None:
        return ""
    if allocation.get("gpu_index") is None:
        return "CPU"
    cards = [str(card["gpu_index"]) for card in allocation.get("gpus", [allocation])]
    limit = allocation.get("memory_limit")
    return f"GPU {','.join(cards)}" + (f" {format_size(limit * MIB)}" if isinstance(limit, int) else "")


def counted(jobs: Iterable[JobStatus], language: str) -> str:
    """Return how many jobs are in which state: `3 completed, 1 failed`."""
    found = Counter(job.state for job in jobs)
    order = sorted(found, key=lambda state: _ORDER.index(state) if state in _ORDER else len(_ORDER))
    told = (
        word("counted", language, count=found[state], what=known(f"state_{state}", language, state)) for state in order
    )
    return word("comma", language).join(told)


def results_table(
    jobs: Sequence[JobStatus], results: Sequence[JobResult], language: str
) -> tuple[Table, tuple[str, str] | None]:
    """Return what came of the jobs of a run, and the best of them with its figure.

    Args:
        jobs: As they stand.
        results: What became of them, in the same order, with their histories.
        language: `en` or `zh`.
    """
    names = [name for result in results for name in told_metrics(result.history)]
    measure = measure_of(names)
    best = {result.name: best_epoch(result.history, measure) if measure else None for result in results}
    winner = _winner(results, best, measure, language)
    pairs = _shown(list(zip(jobs, results, strict=False)), winner)
    rows = tuple(_row(job, result, best[result.name], language) for job, result in pairs)
    header = (
        word("label_job", language),
        word("label_state", language),
        word("label_epochs", language),
        word("label_best", language, metric=known(f"column_{measure}", language, measure or "-")),
        word("column_test_accuracy", language),
        word("label_time", language),
        word("label_error", language),
    )
    marked = next((at for at, (job, _) in enumerate(pairs) if winner and job.name == winner[0]), None)
    return _without_empty(Table(header, rows, marked)), winner


def _winner(
    results: Sequence[JobResult],
    best: Mapping[str, tuple[float, int | None] | None],
    measure: str | None,
    language: str,
) -> tuple[str, str] | None:
    """Return the best of at least two completed jobs: by test accuracy, else by the epochs' measure."""
    done = [result for result in results if result.state == "completed"]
    tested = {one.name: value for one in done if (value := finite(one.metrics.get("test_accuracy"))) is not None}
    if len(tested) > 1:
        name = max(tested, key=tested.__getitem__)
        return name, f"{word('test_accuracy', language)} {figure(tested[name])}"
    values = {one.name: found[0] for one in done if (found := best[one.name]) is not None}
    if measure is None or len(values) < 2:
        return None
    name = (min if lowest_is_best(measure) else max)(values, key=values.__getitem__)
    return name, f"{known(f'column_{measure}', language, measure)} {figure(values[name])}"


def _shown(
    pairs: list[tuple[JobStatus, JobResult]], winner: tuple[str, str] | None
) -> list[tuple[JobStatus, JobResult]]:
    """Return the jobs that have a row: all where they are few, else the best, then those that failed."""
    if len(pairs) <= MOST_ROWS:
        return pairs
    best = winner[0] if winner else None
    return sorted(pairs, key=lambda pair: (pair[0].name != best, pair[0].state != "failed"))[:MOST_ROWS]


def _row(job: JobStatus, result: JobResult, best: tuple[float, int | None] | None, language: str) -> tuple[str, ...]:
    error = (job.error or job.outcome or "") if job.state == "failed" else ""
    done = f"{job.epoch}/{job.epochs}" if job.epoch is not None and job.epochs else figure(job.epoch)
    return (
        job.name,
        known(f"state_{job.state}", language, job.state),
        done,
        figure(best[0]) if best else "",
        figure(finite(result.metrics.get("test_accuracy"))),
        format_duration(job.elapsed_s) if job.elapsed_s is not None else "",
        error if len(error) <= _LONGEST_ERROR else error[: _LONGEST_ERROR - 1] + "…",
    )


def _without_empty(table: Table) -> Table:
    kept = [at for at in range(len(table.header)) if at == 0 or any(row[at] for row in table.rows)]
    rows = tuple(tuple(row[at] for at in kept) for row in table.rows)
    return Table(tuple(table.header[at] for at in kept), rows, table.marked)
