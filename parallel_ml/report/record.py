"""A report as JSON, for programs: the same in any language, and nothing in it that JSON does not know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from parallel_ml.report.facts import JobFacts, Report, RunFacts
from parallel_ml.report.figures import took
from parallel_ml.report.learning import drawn_curves
from parallel_ml.report.origin import named_packages, other_circumstances

VERSION = 1
_MOST_POINTS = 2000
"""Points of a curve; each job's `metrics.jsonl` has all of them."""


def record(report: Report) -> dict[str, Any]:
    """Return the report; times are ISO 8601 in UTC, durations in seconds, memory in MiB, unknown values None."""
    winner = None
    if report.winner is not None:
        job = next(one for one in report.jobs if one.label == report.winner[0])
        winner = {"job": job.label, "run": report.runs[job.run].status.run, "by": report.winner[1]}
    told = {
        "v": VERSION,
        "made": _iso(report.made),
        "compared_by": {"metric": report.measure.metric, "lowest": report.measure.lowest},
        "winner": winner,
        "runs": [_run(run) for run in report.runs],
        "jobs": [_job(job, report) for job in report.jobs],
        "differences": {key: dict(zip(report.compared, values, strict=True)) for key, values in report.differing},
        "curves": {
            metric: {name: points[:: max(1, len(points) // _MOST_POINTS)] for name, points in lines.items()}
            for metric, lines in drawn_curves(report).items()
        },
        "unreadable": list(report.left_out),
    }
    plain: dict[str, Any] = _plain(told)
    return plain


def _run(run: RunFacts) -> dict[str, Any]:
    status, plan = run.status, run.plan
    return {
        "run": status.run,
        "name": status.name,
        "dir": status.dir,
        "state": status.state,
        "supervisor": status.supervisor,
        "created": status.created,
        "as_of": status.as_of,
        "took_s": run.took_s,
        "winner": run.winner,
        "notes": list(status.notes),
        "argv": plan.get("argv"),
        "versions": plan.get("versions"),
        "packages": named_packages(plan),
        "hardware": plan.get("hardware"),
        "git": plan.get("git"),
        "git_commit": plan.get("git_commit"),
        "not_as_planned": other_circumstances(run),
    }


def _job(job: JobFacts, report: Report) -> dict[str, Any]:
    status = job.status
    value, epoch = job.best or (None, None)
    return {
        "label": job.label,
        "run": report.runs[job.run].status.run,
        "name": status.name,
        "process_id": status.process_id,
        "state": status.state,
        "outcome": status.outcome,
        "error": status.error,
        "failure": status.failure,
        "best": {"metric": report.measure.metric, "value": value, "epoch": epoch},
        "metrics": status.metrics,
        "epoch": status.epoch,
        "epochs": status.epochs,
        "took_s": took(job),
        "epoch_s": job.epoch_s,
        "resources": status.resources,
        "seed": status.seed,
        "batch_size": status.batch_size,
        "accumulation": status.accumulation,
        "checkpoint": job.checkpoint,
        "confusion_matrix": job.analysis.get("confusion_matrix"),
        "classes": job.analysis.get("classes"),
        "attempts": _attempts(job),
        "recoveries": list(status.recoveries),
        "alerts": [{**_fields(one), "last_at": _iso(one.last_at)} for one in job.alerts],
        "paths": status.paths,
    }


def _attempts(job: JobFacts) -> list[dict[str, Any]]:
    return [
        {
            "attempt": one.number,
            "allocation": one.allocation.to_dict(),
            "batch_size": one.batch_size,
            "accumulation": one.accumulation,
            "started": _iso(one.started_at),
            "ended": _iso(one.ended_at),
            "outcome": str(one.outcome) if one.outcome else None,
            "cause": one.diagnosis.kind.value if one.diagnosis else None,
            "error": one.error,
        }
        for one in job.attempts
    ]


def _fields(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


def _iso(seconds: float | None) -> str | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    except (OverflowError, OSError, ValueError):
        return None


def _plain(value: Any) -> Any:
    """Return a value with None for what is not finite: JSON knows no NaN."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (dict, Mapping)):  # to ask for a dict alone is quicker
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
