"""How an attempt ended: from the facts of its exit to an outcome, and what a job's budget allows next."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from parallel_ml.core.diagnosis import diagnose
from parallel_ml.core.model import Job
from parallel_ml.core.outcome import Diagnosis, FailureClass, Outcome, OutcomeKind
from parallel_ml.records import dataclass

RELEASED_EXIT_CODE = 75
"""The built-in training's exit code after it saved and left because it was asked to (EX_TEMPFAIL of sysexits.h)."""

LOSS_BUDGET = 3
"""Attempts that may end for what is not the job's fault (`Outcome.from_outside`) before it fails all the same."""

LONGEST_BACKOFF_S = 3600.0
"""Doubling stops here."""

_SAID = {
    "oom_gpu": OutcomeKind.OOM_GPU,
    "oom_host": OutcomeKind.OOM_HOST,
    "diverged": OutcomeKind.DIVERGED,
}
_MEMORY = {
    FailureClass.OUT_OF_MEMORY: OutcomeKind.OOM_GPU,
    FailureClass.OUT_OF_HOST_MEMORY: OutcomeKind.OOM_HOST,
}
_SHORT_OF = {kind: failure for failure, kind in _MEMORY.items()}
_SAID_GOOD = {"success": OutcomeKind.SUCCESS, "early_stopped": OutcomeKind.EARLY_STOPPED}


@dataclass(frozen=True)
class ExitFacts:
    """What is known about the end of an attempt.

    Attributes:
        code: The exit code, or None when a signal ended it or it is not known.
        signal: The signal's number, or None.
        spawn_error: Why the process could not be started, or None.
        said: The outcome that the training itself reported last, or None.
        error: The error that it reported, or the last line of its standard error.
        asked: `stop` or `pause` when it had been told to end before it ended.
        oom_kill: Whether the kernel's out-of-memory killer took part of it.
        place: What the training was at (`train`, `validate`, `evaluate` ...), where it said so.
        tail: The last lines of its output, oldest first; empty after a good end.
        near_limit: Whether its memory stood near what it was granted when it was last measured.
        ended_at: When it ended, by its own record; None where it has none.
        lost: Whether it vanished without a record.
        never_started: Whether it is certain that nothing of it ever ran, nor will.
    """

    code: int | None = None
    signal: int | None = None
    spawn_error: str | None = None
    said: str | None = None
    error: str | None = None
    asked: str | None = None
    oom_kill: bool = False
    place: str | None = None
    tail: tuple[str, ...] = ()
    near_limit: bool = False
    ended_at: float | None = None
    lost: bool = False
    never_started: bool = False


def judge(facts: ExitFacts, earlier: Iterable[Outcome | None] = ()) -> tuple[Outcome, str | None, Diagnosis | None]:
    """Return why the attempt ended and, where that was bad, a sentence about it and what it looks like.

    A program that says nothing itself has run out of memory where its last lines say so.

    Args:
        facts: What is known about its end.
        earlier: How the attempts of the same job before it ended, oldest first.
    """
    outcome, error = classify(facts)
    # What it said itself is later than its output, of which the last line is mostly the same.
    lines = facts.tail if facts.error is None or facts.error in facts.tail else (*facts.tail, facts.error)
    short_of = [_SHORT_OF[was.kind] for was in earlier if was is not None and was.kind in _SHORT_OF]
    after = short_of[-1] if short_of else None
    found = diagnose(outcome, error, lines, near_limit=facts.near_limit, after=after)
    if found is not None and found.kind in _MEMORY and outcome.kind in (OutcomeKind.ERROR, OutcomeKind.SIGNAL):
        words = found.kind.words if not found.suspected else f"probably {found.kind.words}"
        outcome, error = Outcome(_MEMORY[found.kind]), f"{words}: {found.evidence or error}"
    return outcome, error, found


def classify(facts: ExitFacts) -> tuple[Outcome, str | None]:
    """Return why the attempt ended, by its exit and what it said itself, and where that was bad a sentence about it."""
    if facts.never_started or facts.lost or facts.spawn_error is not None:
        return _ended_without_exit(facts)
    if facts.code == 0:
        return _ended_well(facts), None
    if facts.asked is not None:
        kind = OutcomeKind.RELEASED if facts.asked == "pause" else OutcomeKind.STOPPED
        return Outcome(kind), None
    if facts.said in _SAID:
        return Outcome(_SAID[facts.said]), facts.error
    if facts.signal is not None:
        return _ended_by_signal(facts)
    if facts.code == RELEASED_EXIT_CODE and facts.said == "released":
        return Outcome(OutcomeKind.RELEASED), None
    return Outcome(OutcomeKind.ERROR, facts.code), facts.error or f"it ended with exit code {facts.code}"


def _ended_without_exit(facts: ExitFacts) -> tuple[Outcome, str | None]:
    if facts.never_started:
        return Outcome(OutcomeKind.NEVER_STARTED), "its supervisor ended before it was started"
    if facts.lost:
        return Outcome(OutcomeKind.LOST), "its process vanished without a record"
    return Outcome(OutcomeKind.SPAWN_FAILED), facts.spawn_error


def _ended_well(facts: ExitFacts) -> Outcome:
    if facts.said in _SAID_GOOD:
        return Outcome(_SAID_GOOD[facts.said])
    if facts.asked == "stop":  # a program may well leave with 0 because it was told to
        return Outcome(OutcomeKind.STOPPED)
    return Outcome(OutcomeKind.RELEASED if facts.asked == "pause" else OutcomeKind.SUCCESS)


def _ended_by_signal(facts: ExitFacts) -> tuple[Outcome, str | None]:
    number = facts.signal or 0
    if facts.oom_kill and number == signal.SIGKILL:
        return Outcome(OutcomeKind.OOM_HOST), "the system ran out of memory and killed it"
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    last = f"; last error line: {facts.error}" if facts.error else ""
    return Outcome(OutcomeKind.SIGNAL, number), f"it was ended by signal {number} ({name}){last}"


def retry_delay(job: Job, outcome: Outcome) -> float | None:
    """Return the seconds to wait before the next attempt; None when the budget is used up.

    Failed attempts wait `backoff_s`, doubled each time; lost ones are tried again at once, with a budget of their own.
    `job` is the job as it was before the attempt's end was taken in.
    """
    if outcome.kind is OutcomeKind.NEVER_STARTED:
        return 0.0
    if outcome.from_outside:
        return 0.0 if job.losses + 1 < LOSS_BUDGET else None
    if job.failures + 1 < job.spec.max_attempts:
        return min(job.spec.backoff_s * 2.0 ** min(job.failures, 32), max(LONGEST_BACKOFF_S, job.spec.backoff_s))
    return None
