"""What a report says, in the order in which it is read; the charts and what happened are in `drawing` and `events`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from parallel_ml.core.differences import Rows, shortened
from parallel_ml.report import figures
from parallel_ml.report.blocks import Block, Document, Facts, Row, Section, Table, Text
from parallel_ml.report.confusion import confusion_blocks
from parallel_ml.report.events import alert_blocks, attempt_blocks, causes_of, failure_blocks, story_blocks
from parallel_ml.report.facts import JobFacts, Report, RunFacts
from parallel_ml.report.gather import FINISHED
from parallel_ml.report.learning import curve_blocks
from parallel_ml.report.origin import origin_blocks
from parallel_ml.report.timeline import timeline_blocks
from parallel_ml.report.words import label, named, state_of

MOST_ROWS = 2000
"""Jobs that have a row; a run has fewer, several runs together may have more."""
_MOST_KEYS = 40
_MOST_BESIDE = 6


def document(report: Report, language: str) -> Document:
    """Return a report as sections; those that would be empty are left out."""
    parts = (
        ("summary", _summary(report, language)),
        ("leaderboard", _leaderboard(report, language)),
        ("jobs", _jobs(report, language)),
        ("differences", _differences(report, language)),
        ("curves", curve_blocks(report, language)),
        ("confusion", confusion_blocks(report, language)),
        ("timeline", timeline_blocks(report, language)),
        ("failures", failure_blocks(report, language)),
        ("attempts", attempt_blocks(report, language)),
        ("story", story_blocks(report, language)),
        ("alerts", alert_blocks(report, language)),
        ("origin", origin_blocks(report, language)),
    )
    if report.several:
        title = label("title_several", language, count=len(report.runs))
    else:
        title = label("title", language, name=report.runs[0].title)
    sections = [Section(key, label(key, language), blocks) for key, blocks in parts if blocks]
    return Document(title, language, sections)


def measure_name(report: Report, language: str) -> str:
    """Return by what the jobs' epochs are compared."""
    return named(report.measure.what, language)


def _summary(report: Report, language: str) -> list[Block]:
    found: list[Block] = [Text(_winner(report, language), strong=True)]
    if not report.several:
        run = report.runs[0]
        if run.status.state not in FINISHED:
            gone = label("gone", language, run=run.status.run) if run.status.supervisor != "running" else ""
            found.append(Text(label("still_on", language, when=figures.moment(report.made)) + gone))
        found.append(Facts(_facts(run, report, language)))
    else:
        found.append(Facts([(label("made", language), figures.moment(report.made))]))
    found += [Text(label("unreadable", language, why=why)) for why in report.left_out]
    return found


def _facts(run: RunFacts, report: Report, language: str) -> list[tuple[str, str]]:
    status, plan = run.status, run.plan
    argv = plan.get("argv")
    rows = [
        ("id", status.run),
        ("state", state_of(status.state, language)),
        ("count_jobs", figures.counts(status.jobs, language)),
        ("began", figures.moment(run.began)),
        ("time", figures.duration(run.took_s)),
        ("command", shlex.join(["parallel-ml", *map(str, argv)]) if isinstance(argv, list) else ""),
        ("folder", status.dir),
        ("notes", "; ".join(status.notes)),
        ("undelivered", "; ".join(status.undelivered)),
        ("made", figures.moment(report.made)),
    ]
    return [(label(key, language), value) for key, value in rows if value]


def _winner(report: Report, language: str) -> str:
    if report.winner is None:
        done = [job.label for job in report.jobs if job.status.state == "completed"]
        if len(done) == 1:
            return label("only_winner", language, job=done[0])
        return label("not_measured" if done else "no_winner", language)
    best, what = report.winner
    job = next(one for one in report.jobs if one.label == best)
    value = job.tested if what == "test accuracy" else job.best and job.best[0]
    return label("winner_is", language, job=best, what=named(what, language), value=figures.figure(value))


def _leaderboard(report: Report, language: str) -> list[Block]:
    """Return a row for each run, in the order of their best jobs; nothing for a run alone."""
    if not report.several:
        return []
    by_label = {job.label: (place, job) for place, job in enumerate(report.jobs)}
    last = len(report.jobs)
    runs = sorted(report.runs, key=lambda run: by_label[run.winner][0] if run.winner else last)
    header = (
        *(label(key, language) for key in ("run", "id", "state", "count_jobs", "winner")),
        label("best", language, metric=measure_name(report, language)),
        *(label(key, language) for key in ("test_acc", "time", "began")),
    )
    rows = []
    for run in runs:
        job = by_label[run.winner][1] if run.winner else None
        rows.append(
            (
                run.title,
                run.status.run,
                state_of(run.status.state, language),
                figures.counts(run.status.jobs, language),
                job.status.name if job else "",
                figures.figure(job.best[0]) if job and job.best else "",
                figures.figure(job.tested) if job else "",
                figures.duration(run.took_s),
                figures.moment(run.began),
            )
        )
    states = [run.status.state for run in runs]
    strong = 0 if report.winner and runs and runs[0].winner == report.winner[0] else None
    caption = label("leaderboard", language)
    return [Table(caption, header, rows, frozenset({5, 6, 7}), state=2, states=states, strong=strong).filled()]


def _jobs(report: Report, language: str) -> list[Block]:
    shown = report.jobs[:MOST_ROWS]
    columns = [
        ("job", [job.label for job in shown], False),
        ("state", [_state(job, language) for job in shown], False),
        ("best", [figures.figure(job.best[0]) if job.best else "" for job in shown], True),
        ("in_epoch", [str(job.best[1]) if job.best and job.best[1] is not None else "" for job in shown], True),
        ("test_acc", [figures.figure(job.tested) for job in shown], True),
        ("epochs", [figures.epochs(job.status) for job in shown], True),
        ("time", [figures.duration(figures.took(job)) for job in shown], True),
        ("epoch_time", [figures.duration(job.epoch_s) for job in shown], True),
        ("memory", [figures.peak(job.status, "memory") for job in shown], True),
        ("gpu_memory", [figures.peak(job.status, "gpu_memory") for job in shown], True),
        ("energy", [figures.energy(job.status) for job in shown], True),
        ("batch", [figures.batch(job.status.batch_size, job.status.accumulation) for job in shown], True),
        ("attempts_short", [_attempts(job, language) for job in shown], False),
        ("seed", ["" if job.status.seed is None else str(job.status.seed) for job in shown], True),
        ("checkpoint", [_checkpoint(job) for job in shown], False),
    ]
    metric = measure_name(report, language)
    header = tuple(label(key, language, **({"metric": metric} if key == "best" else {})) for key, *_ in columns)
    rows: list[Row] = list(zip(*(cells for _, cells, _ in columns), strict=True))
    strong = next((place for place, job in enumerate(shown) if report.winner and job.label == report.winner[0]), None)
    numbers = frozenset(place for place, (_, _, right) in enumerate(columns) if right)
    states = [job.status.state for job in shown]
    table = Table(label("jobs", language), header, rows, numbers, state=1, states=states, strong=strong)
    return [table.filled(), *_more(report.jobs[MOST_ROWS:], language)]


def _more(hidden: Sequence[JobFacts], language: str) -> list[Block]:
    if not hidden:
        return []
    counted = figures.counts((job.status for job in hidden), language)
    return [Text(label("more_jobs", language, count=len(hidden), counts=counted))]


def _state(job: JobFacts, language: str) -> str:
    early = job.status.outcome == "early_stopped" and job.status.state == "completed"
    return state_of(job.status.state, language) + (f" ({label('early', language)})" if early else "")


def _attempts(job: JobFacts, language: str) -> str:
    """Return how many attempts a job had, and why the ones before the last ended; "" for one alone."""
    if len(job.attempts) < 2:
        return ""
    causes = causes_of(job, language)
    return f"{len(job.attempts)}, {label('retried', language, causes=causes)}" if causes else str(len(job.attempts))


def _checkpoint(job: JobFacts) -> str:
    """Return where a job's model is, from its run's folder where it is in there."""
    if job.checkpoint is None:
        return ""
    home = os.path.dirname(os.path.dirname(job.status.paths.get("dir") or ""))  # noqa: PTH120 - a path that is shown
    inside = home and job.checkpoint.startswith(home + "/")
    return job.checkpoint[len(home) + 1 :] if inside else job.checkpoint


def _differences(report: Report, language: str) -> list[Block]:
    if len(report.compared) < 2:
        return []
    if not report.differing:
        return [Text(label("nothing_differs", language))]
    shown = shortened(report.differing[:_MOST_KEYS])
    turned = len(report.compared) <= _MOST_BESIDE
    found: list[Block] = [(_by_key if turned else _by_job)(report, shown, language)]
    if len(report.differing) > len(shown):
        found.append(Text(label("keys_more", language, count=len(report.differing) - len(shown))))
    if len(report.compared) < len(report.jobs):
        found.append(Text(label("compared_some", language, count=len(report.compared))))
    return found


def _by_key(report: Report, shown: Rows, language: str) -> Table:
    """Return what differed with a row for each key, which is easier to read where the jobs are few."""
    best = label("best", language, metric=measure_name(report, language))
    bests = _bests(report)
    rows = [*((key, *values) for key, values in shown), *([(best, *bests)] if any(bests) else [])]
    header = (label("key", language), *report.compared)
    return Table(label("differences", language), header, rows)


def _by_job(report: Report, shown: Rows, language: str) -> Table:
    """Return what differed with a row for each job."""
    best = label("best", language, metric=measure_name(report, language))
    values_by_job = zip(*(values for _, values in shown), strict=True)
    rows = [
        (name, *values, value)
        for name, values, value in zip(report.compared, values_by_job, _bests(report), strict=True)
    ]
    strong = report.compared.index(report.winner[0]) if report.winner and report.winner[0] in report.compared else None
    header = (label("job", language), *(key for key, _ in shown), best)
    return Table(label("differences", language), header, rows, frozenset({len(header) - 1}), strong=strong).filled()


def _bests(report: Report) -> list[str]:
    """Return the best value of each job that is compared."""
    by_label = {job.label: job for job in report.jobs}
    return [figures.figure(best[0]) if (best := by_label[name].best) else "" for name in report.compared]
