"""Reading what a report shows from the files of runs; a run that goes on is read as it stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from parallel_ml.config.kept import read_config
from parallel_ml.core import events as ev
from parallel_ml.core.comparison import Measure, best_epoch, best_job, finite, measure_of
from parallel_ml.core.differences import differences
from parallel_ml.core.model import RunState
from parallel_ml.core.status import JobResult, JobStatus, RunStatus
from parallel_ml.core.story import told
from parallel_ml.errors import StoreError
from parallel_ml.monitor.history import job_result
from parallel_ml.monitor.last_errors import last_errors
from parallel_ml.report.charts.style import COLOURS
from parallel_ml.report.facts import AlertFacts, JobFacts, Report, RunFacts
from parallel_ml.report.scrubbed import Cleaner
from parallel_ml.store.files import read_json, read_whole
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import JobLayout, RunLayout
from parallel_ml.store.run_view import RunView

FINISHED = frozenset({"completed", "failed", "stopped"})
MOST_COMPARED = 200
"""Jobs whose configurations are compared, the best ones; to read one takes some milliseconds."""
MOST_TOLD = 20
"""Failed jobs whose last lines are read."""
_LARGEST_ANALYSIS = 4 << 20
_EVENTFUL = (
    ev.StopBegun,
    ev.PauseBegun,
    ev.JobFrozen,
    ev.JobReleased,
    ev.RetryScheduled,
    ev.MemoryRecovered,
    ev.RateCutOrdered,
)


def gather(layouts: Sequence[RunLayout], now: float, secrets: Iterable[str] = ()) -> Report:
    """Return what a report of one run or of several shows.

    Args:
        layouts: The runs, in the order in which they are shown.
        now: Seconds since the epoch.
        secrets: What must not be shown, beside what looks like a secret: those of the runs' channels.

    Raises:
        StoreError: None of the runs can be read.
    """
    views, left_out, failure, cleaner = [], [], None, Cleaner(secrets)
    for layout in layouts:
        try:
            views.append(RunView(layout))
        except StoreError as error:
            failure = error
            left_out.append(str(error))
    if not views and failure is not None:
        raise failure
    runs, jobs = [], []
    for place, view in enumerate(views):
        status = view.status()
        run = _run_of(view, status, cleaner)
        runs.append(run)
        prefix = f"{run.title}/" if len(views) > 1 else ""
        jobs += _jobs_of(view.state, status, place, prefix, cleaner)
    return _ranked(runs, jobs, now, left_out, cleaner)


def _ranked(
    runs: Sequence[RunFacts], jobs: Sequence[JobFacts], now: float, left_out: Sequence[str], cleaner: Cleaner
) -> Report:
    """Return the report, with the jobs in the order of what they reached."""
    jobs = _told_apart(jobs, runs)
    measure = measure_of([job.result for job in jobs])
    jobs = [replace(job, best=best_epoch(job.result, measure)) for job in jobs]
    winner = _winner(jobs, measure)
    tested = winner is not None and winner[1] == "test accuracy"
    jobs = sorted(jobs, key=lambda job: _rank(job, measure, tested=tested))
    drawn = [job.label for job in jobs if _has_curve(job)][:COLOURS]
    compared = [job for job in jobs if len(jobs) > 1][:MOST_COMPARED]
    configs = {job.label: read_config(job.status.paths.get("dir")) for job in compared}
    compared = [job for job in compared if configs[job.label]]
    differing = differences([configs[job.label] for job in compared]) if len(compared) > 1 else []
    failed = [job.label for job in jobs if job.status.state == "failed"][:MOST_TOLD]
    return Report(
        [_with_winner(run, place, jobs, measure) for place, run in enumerate(runs)],
        [_read_further(job, drawn, failed, cleaner) for job in jobs],
        measure,
        winner,
        drawn,
        [job.label for job in compared],
        differing,
        now,
        left_out,
    )


def _run_of(view: RunView, status: RunStatus, cleaner: Cleaner) -> RunFacts:
    ends = [at for job in status.jobs if (at := _seconds(job.ended)) is not None]
    began = view.state.created_at
    took = max(0.0, max(ends) - began) if ends and status.state in FINISHED else None
    return RunFacts(status.name or status.run, view.layout, status, cleaner.plan(view.plan), began, took)


def _jobs_of(state: RunState, status: RunStatus, place: int, prefix: str, cleaner: Cleaner) -> list[JobFacts]:
    layout = RunLayout(Path(status.dir))
    stories = _stories(layout, cleaner)
    return [
        JobFacts(
            prefix + job.name,
            place,
            cleaner.status(job),
            result := job_result(job),
            list(map(cleaner.attempt, state.jobs[job.name].attempts)),
            _alerts(layout.job(job.name)),
            epoch_s=_epoch_s(job, result),
            checkpoint=_checkpoint(job, layout.job(job.name)),
            story=stories.get(job.name, ()),
        )
        for job in status.jobs
    ]


def _told_apart(jobs: Sequence[JobFacts], runs: Sequence[RunFacts]) -> list[JobFacts]:
    """Return the jobs with labels that are unique: of runs that have one name, with their ids."""
    seen: dict[str, int] = defaultdict(int)
    for job in jobs:
        seen[job.label] += 1
    return [
        replace(job, label=f"{runs[job.run].status.run}/{job.status.name}") if seen[job.label] > 1 else job
        for job in jobs
    ]


def _winner(jobs: Sequence[JobFacts], measure: Measure) -> tuple[str, str] | None:
    values = {job.label: job.best and job.best[0] for job in jobs}
    return best_job([replace(job.result, name=job.label) for job in jobs], values, measure.what, lowest=measure.lowest)


def _with_winner(run: RunFacts, place: int, jobs: Sequence[JobFacts], measure: Measure) -> RunFacts:
    """Return a run with its best job; of a run with one job that is the one, once it is completed."""
    mine = [job for job in jobs if job.run == place]
    found = _winner(mine, measure)
    if found is None:
        done = [job.label for job in mine if job.status.state == "completed"]
        return replace(run, winner=done[0] if len(done) == 1 else None)
    return replace(run, winner=found[0])


def _rank(job: JobFacts, measure: Measure, *, tested: bool) -> tuple[bool, bool, float, int, int]:
    """Return what jobs are sorted by: those that are completed and have a figure first, by it."""
    value = job.tested if tested else job.best and job.best[0]
    less_is_better = measure.lowest and not tested
    figure = 0.0 if value is None else value if less_is_better else -value
    return value is None, job.status.state != "completed", figure, job.run, job.status.process_id


def _has_curve(job: JobFacts) -> bool:
    return bool(job.result.history.get("epochs")) or bool(job.attempts)


def _read_further(job: JobFacts, drawn: Sequence[str], failed: Sequence[str], cleaner: Cleaner) -> JobFacts:
    """Return a job with what is only read of the ones that are shown at length."""
    files = JobLayout(Path(job.status.paths.get("dir") or ""))
    if job.label in drawn and job.status.state == "completed" and _size(files.result) <= _LARGEST_ANALYSIS:
        found = read_json(files.result)
        job = replace(job, analysis=found if isinstance(found, dict) else {})
    if job.label in failed:
        lines = last_errors(str(files.log), 8)
        job = replace(job, last_lines=cleaner.lines(lines, read_config(files.dir).get("env")) if lines else ())
    return job


def _stories(layout: RunLayout, cleaner: Cleaner) -> dict[str, list[tuple[float, str]]]:
    """Return what happened to the jobs that did not just run from their beginning to their end."""
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    eventful = set()
    if not _is_eventful(layout):
        return {}
    try:
        records, _ = read_records(layout.events)
    except StoreError:
        return {}
    for record in records:
        event = record.event
        if not isinstance(event, ev.JobEvent):
            continue
        if isinstance(event, _EVENTFUL):
            eventful.add(event.job)
        if sentence := _sentence(event):
            found[event.job].append((record.ts, sentence))
    return {job: [(at, cleaner.text(text) or "") for at, text in found[job]] for job in eventful if job in found}


def _is_eventful(layout: RunLayout) -> bool:
    """Say, by their names alone, whether a run has events that a story is told of: to read them all takes long."""
    try:
        text = read_whole(layout.events)
    except OSError:
        return False
    return any(kind.__name__.encode() in text for kind in _EVENTFUL)


def _sentence(event: ev.JobEvent) -> str | None:
    if isinstance(event, ev.MemoryRecovered):
        return event.text
    if isinstance(event, ev.RateCutOrdered):
        return event.reason
    return told(event)


def _alerts(files: JobLayout) -> list[AlertFacts]:
    """Return the rules of a job that have fired, the newest last."""
    try:
        kept = read_json(files.alerts)
    except StoreError:
        return []
    rules = _mapping(_mapping(_mapping(kept).get("state")).get("rules"))
    found = []
    for name, told_of in rules.items():
        rule = _mapping(told_of)
        times = rule.get("episode")
        if isinstance(times, int) and times > 0:
            epoch, at = rule.get("true_epoch"), finite(rule.get("true_at")) or 0.0
            last_epoch = epoch if isinstance(epoch, int) else 0
            words = str(rule.get("expr")), str(rule.get("status"))
            found.append(AlertFacts(str(name), *words, times, at, last_epoch))
    return sorted(found, key=lambda one: one.last_at)


def _epoch_s(job: JobStatus, result: JobResult) -> float | None:
    """Return the mean of what the epochs took; where they do not say, the whole time shared among them."""
    seconds = [value for told in result.history.get("time_per_epoch", []) if (value := finite(told)) is not None]
    if seconds:
        return sum(seconds) / len(seconds)
    done = finite(job.epoch)
    return job.elapsed_s / done if job.elapsed_s is not None and done and done > 0 else None


def _checkpoint(job: JobStatus, files: JobLayout) -> str | None:
    """Return where the job's model is, or else its newest saved state."""
    model = job.paths.get("model")
    if model and Path(model).exists():
        return model
    try:
        states = sorted(files.checkpoints.glob("state-*.npz"))
    except OSError:
        return None
    return str(states[-1]) if states else None


def _seconds(time: str | None) -> float | None:
    return datetime.fromisoformat(time).timestamp() if time else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
