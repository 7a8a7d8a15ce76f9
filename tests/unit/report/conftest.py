"""Runs on the disk as a supervisor leaves them, made in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from parallel_ml.core import events as ev
from parallel_ml.core.model import Allocation, GpuShare, JobSpec, JobState, ProcessId
from parallel_ml.core.outcome import Diagnosis, FailureClass, Outcome, OutcomeKind
from parallel_ml.report.facts import Report
from parallel_ml.report.gather import gather
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run

BEGAN = 1_767_268_800.0
"""2026-01-01 12:00:00 UTC."""
HOSTILE = "<script>alert(1)</script>|\"'\x1b[31m\r\n`x` ${y} [a](javascript:b)\u202e"
_PROCESS = ProcessId("elsewhere", "boot", 1, 1)
_SHARE = GpuShare(0, "GPU-0", 8 << 30, 0.5, 0.5)
_DIAGNOSIS = Diagnosis(FailureClass.NAN, "loss: nan", "lower the learning rate")


@dataclass(frozen=True)
class Made:
    """What a job of a made run is.

    Attributes:
        state: How it ended; RUNNING leaves it alone.
        points: Its epochs.
        failed_before: Attempts that failed before the last.
    """

    name: str = "config1"
    state: JobState = JobState.SUCCEEDED
    points: tuple[dict[str, Any], ...] = ()
    config: str = "model_training: {learning_rate: 0.1}\n"
    result: dict[str, Any] | None = None
    samples: tuple[dict[str, Any], ...] = ()
    alerts: dict[str, Any] = field(default_factory=dict)
    failed_before: int = 0
    error: str | None = None


class MakeRun(Protocol):
    """Makes a run."""

    def __call__(self, *jobs: Made, name: str = ..., plan: dict[str, Any] | None = ...) -> RunLayout:
        """Return its files."""


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a maker of runs."""

    def make(*jobs: Made, name: str = "night", plan: dict[str, Any] | None = None) -> RunLayout:
        number = len(list(tmp_path.glob("runs/*")))
        layout = RunLayout(tmp_path / "runs" / f"20260101-12000{number}-3fa9")
        specs = tuple(JobSpec(place, job.name, "x.yaml", "training", seed=7 + place) for place, job in enumerate(jobs))
        told = {"v": 1, "run": layout.dir.name, "name": name, "argv": ["run", "x.yaml"], **(plan or {})}
        layout.dir.parent.mkdir(exist_ok=True)
        created = ev.RunCreated(layout.dir.name, name, specs)
        create_run(layout, created, told, {job.name: job.config for job in jobs}, BEGAN)
        store = RunStore(layout)
        store.add([ev.SupervisorStarted(_PROCESS)], BEGAN)
        for place, job in enumerate(jobs):
            _fill(layout, job)
            store.add(_events(job, place), BEGAN + 60)
        store.flush()
        store.close()
        return layout

    return make


def epochs(*values: float | None, metric: str = "val_accuracy", **more: Any) -> tuple[dict[str, Any], ...]:
    """Return the lines of a `metrics.jsonl` with one metric."""
    return tuple(
        {"epoch": place, "epochs": len(values), metric: value, "time_per_epoch": 2.0, **more}
        for place, value in enumerate(values, 1)
    )


def report_of(*layouts: RunLayout, secrets: Iterable[str] = ()) -> Report:
    """Return what a report of runs shows."""
    return gather(layouts, BEGAN + 100, secrets)


def _fill(layout: RunLayout, job: Made) -> None:
    files = layout.job(job.name)
    files.metrics.write_text("".join(json.dumps(point) + "\n" for point in job.points), encoding="utf-8")
    if job.result is not None:
        files.result.write_text(json.dumps(job.result), encoding="utf-8")
    if job.alerts:
        files.alerts.write_text(json.dumps({"v": 1, "state": {"rules": job.alerts}}), encoding="utf-8")
    attempt = files.attempt(1 + job.failed_before)
    attempt.dir.mkdir(parents=True)
    attempt.samples.write_text("".join(json.dumps(one) + "\n" for one in job.samples), encoding="utf-8")


def _events(job: Made, place: int) -> list[ev.Event]:
    found: list[ev.Event] = []
    for number in range(1, job.failed_before + 2):
        found.append(ev.JobPlaced(job.name, number, Allocation(place, (_SHARE,)), 32, 1))
        found.append(ev.AttemptStarted(job.name, number, _PROCESS, _PROCESS, BEGAN + 10 * number))
        if number <= job.failed_before:
            failure = Outcome(OutcomeKind.ERROR, 1)
            ended = BEGAN + 10 * number + 5
            found.append(ev.AttemptEnded(job.name, number, failure, job.error, _DIAGNOSIS, ended))
            found.append(ev.RetryScheduled(job.name, BEGAN, job.error or "it failed"))
            found.append(ev.JobQueued(job.name, "the wait is over"))
    if job.state is JobState.RUNNING:
        return found
    number = job.failed_before + 1
    if job.state is JobState.FAILED:
        found.append(
            ev.AttemptEnded(job.name, number, Outcome(OutcomeKind.ERROR, 1), job.error, _DIAGNOSIS, BEGAN + 50)
        )
    else:
        kind = OutcomeKind.STOPPED if job.state is JobState.STOPPED else OutcomeKind.SUCCESS
        found.append(ev.AttemptEnded(job.name, number, Outcome(kind), None, None, BEGAN + 50))
    return [*found, ev.JobFinished(job.name, job.state, job.error)]
