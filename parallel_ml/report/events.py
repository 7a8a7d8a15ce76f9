"""What happened in a run: why jobs failed, which were tried again, what was ordered, which alerts fired."""

from __future__ import annotations

from collections import Counter

from parallel_ml.core.model import Attempt
from parallel_ml.report import figures
from parallel_ml.report.blocks import Block, Lines, Table, Text
from parallel_ml.report.facts import JobFacts, Report
from parallel_ml.report.gather import MOST_TOLD
from parallel_ml.report.words import cause_of, joined, label, step_of

_MOST_ATTEMPTS = 300
_MOST_EVENTS = 300
_MOST_ALERTS = 300
_MOST_CAUSES = 3


def causes_of(job: JobFacts, language: str) -> str:
    """Return why the attempts of a job ended that were not its last, each cause once."""
    found = Counter(cause for attempt in job.attempts[:-1] if (cause := _cause(attempt, language)))
    words = [f"{count} x {cause}" if count > 1 else cause for cause, count in found.items()]
    steps = [step_of(step, language) for step in job.status.recoveries]
    return joined([*words, *steps][: _MOST_CAUSES + len(steps)], language)


def failure_blocks(report: Report, language: str) -> list[Block]:
    """Return why jobs failed, and the last lines that each wrote to its standard error."""
    failed = [job for job in report.jobs if job.status.state == "failed"]
    if not failed:
        return []
    header = tuple(label(key, language) for key in ("job", "outcome", "cause", "error", "evidence", "advice"))
    rows = []
    for job in failed[: 5 * MOST_TOLD]:
        told = job.status.failure or {}
        cause, advice = cause_of(told, language) if told else ("", "")
        seen = str(told.get("evidence") or "")
        error = job.status.error or ""
        rows.append((job.label, job.status.outcome or "", cause, error, "" if seen == error else seen, advice))
    found: list[Block] = [Table(label("failures", language), header, rows).filled()]
    found += [Lines(label("as_of_job", language, job=job.label), job.last_lines) for job in failed if job.last_lines]
    if len(failed) > len(rows):
        found.append(Text(label("more_failed", language, count=len(failed) - len(rows))))
    return found


def attempt_blocks(report: Report, language: str) -> list[Block]:
    """Return the attempts of the jobs that had more than one."""
    header = tuple(
        label(key, language) for key in ("job", "attempt", "device", "batch", "began", "time", "outcome", "cause")
    )
    rows = [
        (
            job.label,
            str(one.number),
            figures.device(one.allocation),
            figures.batch(one.batch_size, one.accumulation),
            figures.moment(one.started_at),
            figures.duration(_took(one)),
            str(one.outcome or ""),
            "; ".join(part for part in (_cause(one, language), one.error) if part),
        )
        for job in report.jobs
        if len(job.attempts) > 1
        for one in job.attempts
    ]
    return (
        [Table(label("attempts", language), header, rows[:_MOST_ATTEMPTS], frozenset({1, 5})).filled()] if rows else []
    )


def story_blocks(report: Report, language: str) -> list[Block]:
    """Return what was told of the jobs that did not just run from their beginning to their end, by time."""
    told = sorted((at, job.label, text) for job in report.jobs for at, text in job.story)
    header = tuple(label(key, language) for key in ("when", "job", "what"))
    rows = [(figures.moment(at), name, step_of(text, language)) for at, name, text in told[:_MOST_EVENTS]]
    return [Table(label("story", language), header, rows)] if rows else []


def alert_blocks(report: Report, language: str) -> list[Block]:
    """Return the alert rules that fired."""
    header = tuple(label(key, language) for key in ("job", "rule", "now", "times", "last_epoch", "when", "condition"))
    rows = [
        (
            job.label,
            one.rule,
            label(f"status_{one.status}", language) if one.status in ("firing", "pending", "inactive") else one.status,
            str(one.times),
            str(one.last_epoch or ""),
            figures.moment(one.last_at or None),
            one.expr,
        )
        for job in report.jobs
        for one in job.alerts
    ]
    table = Table(label("alerts", language), header, rows[:_MOST_ALERTS], frozenset({3, 4}))
    return [table.filled()] if rows else []


def _cause(attempt: Attempt, language: str) -> str:
    found = attempt.diagnosis
    if found is None:
        return "" if attempt.outcome is None or attempt.outcome.good else str(attempt.outcome)
    told = {
        "class": found.kind.value,
        "words": found.kind.words,
        "advice": found.advice,
        "suspected": found.suspected,
    }
    return cause_of(told, language)[0]


def _took(attempt: Attempt) -> float | None:
    if attempt.started_at is None or attempt.ended_at is None:
        return None
    return max(0.0, attempt.ended_at - attempt.started_at)
