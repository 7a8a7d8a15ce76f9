"""A job as its reader is told of it: what the events say, with the newest lines of its own files.

A run may have thousands of jobs with three files each: paths are texts here, and files are read without a stream.
"""

from __future__ import annotations

import json
import math
import time
from functools import cache

from parallel_ml.core.codec import decode
from parallel_ml.core.model import Allocation, JobState
from parallel_ml.core.outcome import Diagnosis, Outcome, OutcomeKind
from parallel_ml.core.status import JobStatus
from parallel_ml.errors import StoreError
from parallel_ml.records import dataclass, filler
from parallel_ml.store.files import last_lines, read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from parallel_ml.store.layout import RunLayout

_QUEUED, _PAUSING, _SUCCEEDED = JobState.QUEUED.value, JobState.PAUSING.value, JobState.SUCCEEDED.value
_WORDS = {state.value: state.word for state in JobState}
_NEVER = {JobState.FAILED.value: OutcomeKind.DEPENDENCY.value, JobState.STOPPED.value: OutcomeKind.STOPPED.value}
"""The outcome of a job that never had an attempt."""
PATHS = ("dir", "config", "log", "metrics", "model", "result")
_LATE = 253402300799
"""From here on it is the year 10000."""
_NOT_METRICS = frozenset({"epoch", "epochs"})
_TOTALS = (
    "cpu_seconds",
    "cpu_mean_percent",
    "memory_peak_mb",
    "gpu_memory_peak_mb",
    "energy_wh",
    "energy_estimated",
)


@dataclass(frozen=True)
class Show:
    """What of a job is told, beside what costs nothing.

    Attributes:
        files: What only its own files say: its metrics and what it takes of the machine.
        details: What no table has a column for: its times of day and its paths.
    """

    files: bool = True
    details: bool = True


EVERYTHING = Show()
TABLE = Show(details=False)
BRIEF = Show(files=False, details=False)

_filled = filler(JobStatus)
_decode = json.JSONDecoder().decode  # half the time of json.loads, which looks for the encoding of each line


def job_status(
    layout: RunLayout, job: dict[str, Any], now: float, waiting: str | None, show: Show = EVERYTHING
) -> JobStatus:
    """Return how a job stands.

    Args:
        layout: Its run.
        job: What the events say of it: a `Job` as JSON values, as the cache has it.
        now: Seconds since the epoch.
        waiting: Why it does not run yet, or None.
        show: What is left out.

    Raises:
        StoreError: One of its files is there and cannot be read.
        TypeError, ValueError, KeyError: The values are not those of a job.
    """
    spec, state, attempt = job["spec"], job.get("state", _QUEUED), last_attempt(job)
    has_files = attempt or show.details or state == _SUCCEEDED
    files = layout.job_paths(spec["name"], attempt["number"] if attempt else 1) if has_files else {}
    last = last_metrics(files["metrics"]) if attempt and show.files else {}
    found = read_summary(files["result"]) if state == _SUCCEEDED and show.files else {}
    ended = attempt.get("ended_at") if attempt else job.get("finished_at")
    told = {
        "process_id": spec["position"],
        "name": spec["name"],
        "state": _WORDS[state],
        "outcome": _NEVER.get(state),
        "waiting": waiting,
        "epoch": _number(last.get("epoch")),
        "epochs": _number(last.get("epochs")) or spec.get("epochs"),
        "metrics": {key: value for key, value in (last | found).items() if key not in _NOT_METRICS},
        "batch_size": spec.get("batch_size"),
        "accumulation": spec.get("accumulation", 1),
        "seed": spec["seed"],
        "ended": iso(ended) if show.details else None,
        "paths": {name: files.get(name, spec.get("model_path")) for name in PATHS} if show.details else {},
        "error": job.get("error") or (attempt.get("error") if attempt else None),
        "resources": _resources(files["samples"], running=ended is None) if attempt and show.files else {},
        "held": job.get("frozen", False),
        "pausing": state == _PAUSING,
        "recoveries": tuple(job.get("recoveries", ())),
    }
    status: JobStatus = _filled(told, _of_attempt(job, attempt, now, show) if attempt else {})
    return status


def last_attempt(job: dict[str, Any]) -> dict[str, Any] | None:
    """Return the newest attempt of a job as JSON values."""
    attempts = job.get("attempts")
    return attempts[-1] if attempts else None


def holds(job: dict[str, Any]) -> bool:
    """Return whether a job's newest attempt lives, for all that the events say."""
    attempt = last_attempt(job)
    return attempt is not None and attempt.get("ended_at") is None


def _of_attempt(job: dict[str, Any], attempt: dict[str, Any], now: float, show: Show) -> dict[str, Any]:
    """Return what there is to tell of a job's newest attempt."""
    started, outcome, process = attempt.get("started_at"), attempt.get("outcome"), attempt.get("process")
    until = attempt.get("ended_at") or now
    return {
        "outcome": _told_outcome(outcome["kind"], outcome.get("number")) if outcome else None,
        "attempt": attempt["number"],
        "pid": process["pid"] if process else None,
        "allocation": decode(Allocation, attempt["allocation"]).to_dict(),
        "batch_size": attempt["batch_size"],
        "accumulation": attempt["accumulation"],
        "started": iso(started) if show.details else None,
        "elapsed_s": None if started is None else round(until - started - _held_s(job, attempt, now), 3),
        "failure": _failure(attempt.get("diagnosis")),
    }


@cache
def _told_outcome(kind: str, number: int | None) -> str:
    return str(Outcome(OutcomeKind(kind), number))


def _held_s(job: dict[str, Any], attempt: dict[str, Any], now: float) -> float:
    """Return how long the newest attempt was held in memory, until now where it still is."""
    since = job.get("held_since")
    so_far: float = attempt.get("held_s", 0.0)
    return so_far + (max(0.0, now - since) if job.get("frozen") and since is not None else 0.0)


def _failure(told: Any) -> dict[str, Any] | None:
    if told is None:
        return None
    found = decode(Diagnosis, told)
    return {
        "class": found.kind.value,
        "words": found.kind.words,
        "evidence": found.evidence,
        "advice": found.advice,
        "suspected": found.suspected,
    }


def _resources(path: str, *, running: bool) -> dict[str, Any]:
    """Return the newest sample of an attempt; of one that has ended the totals alone."""
    last = last_metrics(path)
    if not running:
        return {name: last[name] for name in _TOTALS if name in last}
    return {name: value for name, value in last.items() if name not in {"timestamp", "ended"}}


def last_metrics(path: Path | str) -> dict[str, Any]:
    """Return the newest line of a `metrics.jsonl` or the like, {} where there is none."""
    lines = last_lines(path, 1, links=False)
    return _object(lines[0]) if lines else {}


def read_summary(path: Path | str) -> dict[str, Any]:
    """Return the plain figures of a `result.json` (`test_accuracy`, `best_epoch` ...), {} where there is none."""
    try:
        found = _object(read_whole(path, links=False))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise StoreError(path, "reading", error.strerror or str(error)) from error
    return {key: value for key, value in found.items() if isinstance(value, (int, float)) or value is None}


def _number(value: Any) -> Any:
    """Return a number as it is, None for anything else: a program writes what it likes into its files."""
    return value if isinstance(value, (int, float)) else None


def _object(data: bytes) -> dict[str, Any]:
    """Return the JSON object that these bytes are, {} where they are none."""
    try:
        value = _decode(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Return all lines of a `metrics.jsonl`, [] where there is none; lines that are no objects are left out."""
    try:
        data = read_whole(path, links=False)
    except OSError:
        return []
    points = []
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            points.append(value)
    return points


def iso(timestamp: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC."""
    if timestamp is None:
        return None
    rest, whole = math.modf(timestamp)
    micros = round(rest * 1e6)
    if 0 <= micros < 10**6 and 0 <= whole < _LATE:  # as `datetime` has it, which takes longer to load than all of these
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{micros:06d}+00:00"
    from datetime import datetime, timezone  # noqa: PLC0415 - for times that hardly are any

    return datetime.fromtimestamp(timestamp, timezone.utc).isoformat(timespec="microseconds")
