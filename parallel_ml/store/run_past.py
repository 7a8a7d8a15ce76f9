"""The past of a job, for alert rules that are replayed over it: its attempts, and when it told and printed what."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from parallel_ml.core import events as ev
from parallel_ml.core.alert_replay import Past, Stay
from parallel_ml.core.model import JobSpec
from parallel_ml.store.files import open_stream
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import JobLayout, RunLayout
from parallel_ml.store.run_view import read_metrics

_TIME = re.compile(rb'\{"timestamp": "([^"]{19,40})"')
_SECOND = slice(0, 34)
"""`{"timestamp": "2026-01-01T12:00:00`: of the lines of one second the first is enough."""
_DROPPED = b'", "dropped": '
# The built-in training prints an epoch in the moment in which it reports it.
_EPOCH = re.compile(rb'"message": "Epoch (\d{1,9})/\d+ - ')


def read_past(layout: RunLayout, job: str) -> Past:
    """Return what is known of a job's past, with the times at which it happened.

    Raises:
        StoreError: The run's events cannot be read.
    """
    files = layout.job(job)
    records, _ = read_records(layout.events)
    kind = next((spec.kind for record in records for spec in _planned(record.event) if spec.name == job), "")
    logged, told_at, logged_from = _read_log(files, prints_epochs=kind == "training")
    return Past(
        points=read_metrics(files.metrics),
        stays=tuple(_stays(records, job)),
        told_at=told_at,
        last_told=_changed_at(files.metrics),
        logged=logged,
        logged_from=logged_from,
    )


def _planned(event: ev.Event) -> tuple[JobSpec, ...]:
    return event.jobs if isinstance(event, ev.RunCreated) else ()


def _stays(records: list[ev.Record], job: str) -> Iterator[Stay]:
    """Yield the attempts of a job; one that has not ended goes on until now."""
    began: float | None = None
    held: float | None = None
    holds: list[tuple[float, float]] = []
    afresh = False
    for record in records:
        event, at = record.event, record.ts
        if not isinstance(event, ev.JobEvent) or event.job != job:
            continue
        if isinstance(event, ev.JobQueued):
            afresh = afresh or event.afresh
        elif isinstance(event, ev.AttemptStarted):
            began, held, holds = event.at or at, None, []
        elif isinstance(event, ev.JobFrozen):
            held = at
        elif isinstance(event, ev.JobThawed) and held is not None:
            holds.append((held, at))
            held = None
        elif isinstance(event, ev.AttemptEnded) and began is not None:
            yield _stay(began, event.at or at, holds, held, afresh=afresh)
            began, afresh = None, False
    if began is not None:
        yield _stay(began, time.time(), holds, held, afresh=afresh)


def _stay(began: float, ended: float, holds: list[tuple[float, float]], held: float | None, *, afresh: bool) -> Stay:
    ended = max(began, ended)
    last = [] if held is None else [(held, ended + 1.0)]
    return Stay(began, ended, (*holds, *last), afresh)


def _read_log(files: JobLayout, *, prints_epochs: bool) -> tuple[list[float], dict[int, float], float]:
    """Return when the job printed something, when it told epochs, and from when on that is known."""
    logged: list[float] = []
    told_at: dict[int, float] = {}
    dropped, second = False, b""
    for line in _lines(files.older_log, files.log):
        if _DROPPED in line[-40:]:
            dropped = True
            continue
        epoch = _EPOCH.search(line, 0, 400) if prints_epochs else None
        if line[_SECOND] == second and epoch is None:
            continue
        second = line[_SECOND]
        at = _time_of(line)
        if at is not None:
            logged.append(at)
            if epoch is not None:
                told_at[int(epoch[1])] = at
    return sorted(logged), told_at, logged[0] if dropped and logged else -math.inf


def _lines(*paths: Path) -> Iterator[bytes]:
    for path in paths:
        try:
            with open_stream(path, links=False) as stream:
                yield from stream
        except OSError:
            continue


def _time_of(line: bytes) -> float | None:
    found = _TIME.match(line)
    try:
        return datetime.fromisoformat(found[1].decode("ascii")).timestamp() if found else None
    except ValueError:
        return None


def _changed_at(path: Path) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
