"""Prometheus' text of the runs in a folder, for the server's `/metrics` and for node_exporter's text files.

It is read from the runs' files, so it needs no supervisor and disturbs none. The number of series is bounded: what has
ended drops out after a while, jobs that wait are only counted, and of what is left a fixed number is told at most.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parallel_ml import __version__
from parallel_ml.adapters.prometheus_figures import (
    COUNTER,
    FINISHED,
    JOB_FIGURES,
    MOST_METRICS,
    RUN_FIGURES,
    Figure,
    metric_values,
    seconds,
)
from parallel_ml.core.model import JobState
from parallel_ml.core.status import JobStatus, RunStatus
from parallel_ml.errors import MissingPackage, StoreError
from parallel_ml.records import dataclass
from parallel_ml.runtime.client import RunClient
from parallel_ml.store.cached_jobs import NO_SENSE
from parallel_ml.store.files import is_locked, read_json
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.runs import RunsFolder, run_layouts

if TYPE_CHECKING:
    from typing import Any

    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KEPT_S = 3600.0
"""How long a run, or a job, is told of after its end: some scrapes, so that nobody misses it."""
ABANDONED_KEPT_S = 86400.0
"""How long an unfinished run is told of that nobody drives."""
MOST_RUNS, MOST_JOBS = 50, 1000
_LONGEST_LABEL = 100
_STATES = tuple(dict.fromkeys(state.word for state in JobState))

_UNREADABLE = (StoreError, ArithmeticError, *NO_SENSE)
"""What an odd run raises: any program may have written its files, and the others are told of all the same."""

_Job = tuple[RunStatus, JobStatus]


@dataclass(frozen=True)
class _Run:
    """A run: how it stands, with the jobs that have begun, and how many of all its jobs are in which state."""

    status: RunStatus
    states: Counter[str]


def render(folder: RunsFolder, *, environ: Mapping[str, str] | None = None, now: float | None = None) -> str:
    """Return the metrics of the runs of a folder in Prometheus' text format.

    Args:
        folder: The runs folder; where nobody chose it, the runs of the per-user index are told of as well.
        environ: The environment; None is this process's.
        now: Seconds since the epoch; None is the clock's.

    Raises:
        MissingPackage: prometheus_client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise MissingPackage("prometheus_client", "telling Prometheus", "metrics") from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Runs(folder, os.environ if environ is None else environ, time.time() if now is None else now))
    return generate_latest(registry).decode("utf-8")


class _Runs:
    """What the registry asks for the metrics."""

    def __init__(self, folder: RunsFolder, environ: Mapping[str, str], now: float) -> None:
        self._folder, self._environ, self._now = folder, environ, now

    def collect(self) -> Iterable[Metric]:
        """Read the runs and return their metrics."""
        runs, unreadable = self._read()
        try:
            return self._told(runs, unreadable)
        except _UNREADABLE:
            sound = [run for run in runs if self._makes_sense(run)]
            return self._told(sound, unreadable + len(runs) - len(sound))

    def _makes_sense(self, run: _Run) -> bool:
        try:
            self._told([run], 0)
        except _UNREADABLE:
            return False
        return True

    def _told(self, runs: Sequence[_Run], unreadable: int) -> list[Metric]:
        shown = runs[:MOST_RUNS]
        alive = [(run.status, job) for run in shown for job in run.status.jobs if self._is_shown(job)]
        alive.sort(key=lambda one: one[1].state in FINISHED)  # of too many, those that have ended are left out
        jobs = alive[:MOST_JOBS]
        left_out = {"runs": len(runs) - len(shown), "jobs": len(alive) - len(jobs)}
        return [*_about(unreadable, left_out), *_of_runs(shown), *_of_jobs(jobs)]

    def _read(self) -> tuple[list[_Run], int]:
        """Return the runs that have something to tell, newest first, and how many could not be read."""
        found, unreadable = [], 0
        for layout in run_layouts(self._folder, self._environ):
            if not self._has_news(layout):
                continue
            try:
                run = _read_run(layout)
                ended = seconds(run.status.as_of) or 0.0 if run.status.state in FINISHED else self._now
            except _UNREADABLE:
                unreadable += 1
                continue
            if self._now - ended < KEPT_S:
                found.append(run)
        return found, unreadable

    def _has_news(self, layout: RunLayout) -> bool:
        """Whether a run can be of interest, without reading it."""
        try:
            written = layout.events.stat().st_mtime
        except OSError:
            return False
        return self._now - written < ABANDONED_KEPT_S or is_locked(layout.lock)

    def _is_shown(self, job: JobStatus) -> bool:
        """Whether a job is told of by its name: it has begun, and has not ended long ago."""
        if job.state in FINISHED:
            return self._now - (seconds(job.ended) or 0.0) < KEPT_S
        return job.attempt > 0


def _read_run(layout: RunLayout) -> _Run:
    """Read a run; of thousands of jobs that wait no more than their number.

    Raises:
        StoreError: It cannot be read.
    """
    client = RunClient(layout.dir)
    states = client.job_states()
    begun = [name for name, state in states.items() if state != JobState.QUEUED.word]
    return _Run(client.status_of(begun), Counter(states.values()))


def _about(unreadable: int, left_out: Mapping[str, int]) -> Iterator[Metric]:
    """Yield what is told of the program and of what is not told."""
    yield _family("parallel_ml_build_info", "The version of parallel_ml.", ("version",), [((__version__,), 1.0)])
    yield _family("parallel_ml_runs_unreadable", "Runs whose files cannot be read.", (), [((), float(unreadable))])
    told = [((what,), float(count)) for what, count in left_out.items()]
    yield _family("parallel_ml_left_out", "Runs and jobs that were too many to be told of.", ("what",), told)


def _of_runs(runs: Sequence[_Run]) -> Iterator[Metric]:
    names = [((run.status.run, run.status.name), 1.0) for run in runs]
    yield _family("parallel_ml_run_info", "A run and the name that it was given.", ("run", "name"), names)
    by_state = [((run.status.run, state), float(run.states[state])) for run in runs for state in _STATES]
    yield _family("parallel_ml_run_jobs", "Jobs of a run by state.", ("run", "state"), by_state)
    for figure in RUN_FIGURES:
        yield _figures(figure, ("run",), [((run.status.run,), run.status) for run in runs])


def _of_jobs(jobs: Sequence[_Job]) -> Iterator[Metric]:
    labels = ("run", "config")  # a label `job` would be renamed, as Prometheus puts one of its own on everything
    states = [((run.run, job.name, job.state), 1.0) for run, job in jobs]
    yield _family("parallel_ml_job_state", "1 for the state that a job is in.", (*labels, "state"), states)
    for figure in JOB_FIGURES:
        yield _figures(figure, labels, [((run.run, job.name), job) for run, job in jobs])
    values = [((run.run, job.name, name), value) for run, job in jobs for name, value in metric_values(job.metrics)]
    text = f"What a job has measured last, such as its loss; at most {MOST_METRICS} metrics of a job."
    yield _family("parallel_ml_job_metric", text, (*labels, "metric"), values)
    firing = [((run.run, job.name, name), 1.0) for run, job in jobs for name in _firing(run, job)]
    yield _family("parallel_ml_job_alert_firing", "1 for a rule of a job that fires.", (*labels, "alert"), firing)


def _firing(run: RunStatus, job: JobStatus) -> list[str]:
    """Return the names of a job's alert rules that fire, the first few."""
    if job.state in FINISHED:
        return []
    try:
        told: Any = read_json(RunLayout(Path(run.dir)).job(job.name).alerts)
        rules = told["state"]["rules"].items()
        return [name for name, rule in rules if rule["status"] == "firing"][:MOST_METRICS]
    except (StoreError, TypeError, KeyError, AttributeError):
        return []


def _figures(figure: Figure, labels: Sequence[str], told: Sequence[tuple[tuple[str, ...], Any]]) -> Metric:
    values = [(where, float(value)) for where, one in told if (value := figure.value(one)) is not None]
    return _family(figure.name, figure.text, labels, values, counts=figure.kind == COUNTER)


def _family(
    name: str,
    text: str,
    labels: Sequence[str],
    values: Iterable[tuple[tuple[str, ...], float]],
    *,
    counts: bool = False,
) -> Metric:
    """Return a metric with its values, by the values of its labels."""
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - an extra

    family: Metric = (CounterMetricFamily if counts else GaugeMetricFamily)(name, text, labels=labels)
    once = {tuple(map(_label, where)): value for where, value in values}  # the same twice would spoil the whole scrape
    for where, value in once.items():
        family.add_sample(f"{name}_total" if counts else name, dict(zip(labels, where, strict=True)), value)
    return family


def _label(value: str) -> str:
    """Return what can stand in a label: of a name that some program made up, so much as is whole UTF-8."""
    return value[:_LONGEST_LABEL].encode("utf-8", "backslashreplace").decode("utf-8")
