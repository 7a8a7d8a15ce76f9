"""What an attempt's own files say of it: who guards it, how it ended. Also how a run stands that nobody drives."""

from __future__ import annotations

import os
import time
from typing import Any

from parallel_ml.core.codec import decode
from parallel_ml.core.events import Record
from parallel_ml.core.machine import decide
from parallel_ml.core.model import Job, JobState, ProcessId, RunState
from parallel_ml.core.recovery import ExitFacts
from parallel_ml.core.state import fold
from parallel_ml.core.stimuli import Ended, Held, Started, Stimulus
from parallel_ml.errors import StoreError
from parallel_ml.records import dataclass, replace
from parallel_ml.store.files import is_locked, read_json
from parallel_ml.store.identity import is_alive, is_of_this_boot
from parallel_ml.store.layout import AttemptLayout, RunLayout

HUNG = "hung"


@dataclass(frozen=True)
class Guards:
    """What `shim.json` says.

    Attributes:
        shim: Who guards the attempt, or None.
        process: The training process, or None before it was started.
        held: The how manieth time it is held in memory; 0 while it is not.
        started_at: When it was started, or None.
        locked: Whether the shim holds the lock of `start.json` for as long as it lives.
        image: What the process was forked from, `HUNG` where that did not begin, or None for one that started cold.
    """

    shim: ProcessId | None = None
    process: ProcessId | None = None
    held: int = 0
    started_at: float | None = None
    locked: bool = False
    image: str | None = None


def read_guards(files: AttemptLayout) -> Guards:
    """Return who guards an attempt."""
    told: Any = read_json(files.shim)
    if not isinstance(told, dict):
        return Guards()
    shim, process = told.get("shim"), told.get("process")
    return Guards(
        decode(ProcessId, shim) if shim else None,
        decode(ProcessId, process) if process else None,
        _number(told.get("held")) or 0,
        _time(told.get("started")),
        told.get("locked") is True,
        _text(told.get("image")),
    )


def is_guarded(files: AttemptLayout, guards: Guards) -> bool | None:
    """Say whether the attempt's shim lives; None where that cannot be told from here."""
    if guards.shim is None:
        return False
    alive = is_alive(guards.shim)
    if alive is None and guards.locked and is_of_this_boot(guards.shim) and os.access(files.start, os.R_OK):
        return is_locked(files.start)  # a lock is seen from all containers
    return alive


def read_exit(files: AttemptLayout) -> ExitFacts | None:
    """Return what `exit.json` says; what is not of its type there is taken for not known."""
    told: Any = read_json(files.exit)
    if not isinstance(told, dict):
        return None
    return ExitFacts(
        code=_number(told.get("code")),
        signal=_number(told.get("signal")),
        spawn_error=_text(told.get("spawn_error")),
        said=_text(told.get("said")),
        error=_text(told.get("error")),
        asked=_text(told.get("asked")),
        oom_kill=told.get("oom_kill") is True,
        place=_text(told.get("place")),
        tail=tuple(line for line in told.get("tail") or () if isinstance(line, str)),
        ended_at=_time(told.get("ended")),
    )


def foresee(state: RunState, layout: RunLayout) -> RunState:
    """Return the state of a run that nobody drives as the next supervisor will find it; `state` is not changed.

    Jobs go on, and end, without a supervisor: their own files say so before the event log does.
    """
    seen = replace(state, jobs=dict(state.jobs))
    for job in state.jobs.values():
        for stimulus in _news(job, layout):
            now = time.time()
            for event in decide(seen, stimulus, now).events:
                fold(seen, Record(seen.seq + 1, now, event))
    seen.seq, seen.as_of = state.seq, state.as_of
    return seen


def _news(job: Job, layout: RunLayout) -> list[Stimulus]:
    attempt = job.attempt
    if attempt is None or attempt.ended_at is not None:
        return []
    files, number = layout.job(job.name).attempt(attempt.number), attempt.number
    try:
        guards, facts = read_guards(files), read_exit(files)
    except StoreError:
        return []
    news: list[Stimulus] = []
    if guards.process is not None and guards.shim is not None and attempt.process is None:
        news.append(Started(job.name, number, guards.process, guards.shim, guards.started_at))
    if facts is None and is_guarded(files, guards) is False:
        guarded = guards.shim is not None and guards.shim.start_ticks >= 0  # below 0: a supervisor claimed it
        facts = read_exit(files) or ExitFacts(never_started=not guarded, lost=guarded)
    if facts is not None:
        news.append(Ended(job.name, number, facts))
    elif guards.held and job.state is JobState.PAUSING:
        news.append(Held(job.name, number))
    return news


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _time(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
