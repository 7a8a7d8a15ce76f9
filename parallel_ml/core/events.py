"""What can happen in a run, one frozen dataclass an event, and their JSON form in `events.jsonl`.

A line is `{"v": 1, "seq": 17, "ts": ..., "type": ..., "job": ..., "attempt": ..., "data": {...}}`, with `ts` in seconds
since the epoch, and `job` and `attempt` null for what concerns the whole run.
"""

from __future__ import annotations

from parallel_ml.core.adjustments import Adjustment, RateCut
from parallel_ml.core.codec import decode, encode
from parallel_ml.core.model import Allocation, JobSpec, JobState, Machine, ProcessId
from parallel_ml.core.outcome import Diagnosis, Outcome, OutcomeKind
from parallel_ml.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True)
class JobEvent(Event):
    """Something that happened to one job."""

    job: str


@dataclass(frozen=True)
class RunCreated(Event):
    """The run was planned; every job is queued."""

    run_id: str
    name: str
    jobs: tuple[JobSpec, ...]
    max_parallel: int | None = None


@dataclass(frozen=True)
class SupervisorStarted(Event):
    """A supervisor took the run's lock.

    Attributes:
        process: It.
        booted_at: When its machine was booted by the clock that it goes by; None in logs of older versions.
        clock_set_s: By how much that is later than it was for the supervisor before it; all that waits moves with it.
    """

    process: ProcessId
    booted_at: float | None = None
    clock_set_s: float = 0.0


@dataclass(frozen=True)
class SupervisorLeft(Event):
    """The supervisor let go of the run of its own will."""

    reason: str


@dataclass(frozen=True)
class MachineSeen(Event):
    """The cards or the host are not what they were."""

    machine: Machine


@dataclass(frozen=True)
class JobPlaced(JobEvent):
    """The intent to start an attempt; written before anything is started."""

    attempt: int
    allocation: Allocation
    batch_size: int | None
    accumulation: int
    evaluation_batch_size: int | None = None


@dataclass(frozen=True)
class AttemptStarted(JobEvent):
    """The training process runs, guarded by its shim; `at` is when it was started, by its shim's record."""

    attempt: int
    process: ProcessId
    shim: ProcessId
    at: float | None = None


@dataclass(frozen=True)
class AttemptEnded(JobEvent):
    """The attempt's process tree is gone; `at` is since when, by its own record."""

    attempt: int
    outcome: Outcome
    error: str | None = None
    diagnosis: Diagnosis | None = None
    at: float | None = None


@dataclass(frozen=True)
class StopBegun(JobEvent):
    """The process tree was told to end; after `due_at` it is killed."""

    cause: OutcomeKind
    due_at: float
    order: str | None = None
    reason: str | None = None
    alert: str | None = None


@dataclass(frozen=True)
class PauseBegun(JobEvent):
    """The training was told to save and end; after `due_at` it is killed."""

    due_at: float
    order: str | None = None
    alert: str | None = None


@dataclass(frozen=True)
class GraceOver(JobEvent):
    """It did not end in time and is killed; asked again after `due_at`."""

    due_at: float


@dataclass(frozen=True)
class JobFrozen(JobEvent):
    """The process tree is held in memory."""

    order: str | None = None


@dataclass(frozen=True)
class JobThawed(JobEvent):
    """A held process tree goes on."""

    order: str | None = None


@dataclass(frozen=True)
class JobReleased(JobEvent):
    """The job is paused and holds nothing."""

    order: str | None = None
    alert: str | None = None


@dataclass(frozen=True)
class ResumeWanted(JobEvent):
    """A resume arrived while the job was pausing; it is queued as soon as it is paused."""

    order: str | None = None


@dataclass(frozen=True)
class MemoryRecovered(JobEvent):
    """The attempt ran out of memory: the next one, at once, goes one step down the ladder."""

    attempt: int
    adjustment: Adjustment
    text: str


@dataclass(frozen=True)
class RateCutOrdered(JobEvent):
    """The training is to lower its learning rate; kept for further attempts, too."""

    cut: RateCut
    reason: str
    order: str | None = None
    alert: str | None = None


@dataclass(frozen=True)
class RetryScheduled(JobEvent):
    """The job is queued again at `due_at`."""

    due_at: float
    reason: str


@dataclass(frozen=True)
class JobQueued(JobEvent):
    """The job waits for a place. `afresh` gives it its whole budget of attempts again."""

    reason: str
    afresh: bool = False
    order: str | None = None


@dataclass(frozen=True)
class JobFinished(JobEvent):
    """The job is over: succeeded, failed or stopped."""

    state: JobState
    error: str | None = None
    order: str | None = None


@dataclass(frozen=True)
class OrderDone(Event):
    """An order was carried out; it is never taken again."""

    order: str
    command: str


@dataclass(frozen=True)
class CommandRejected(Event):
    """An order, or its part for one job, could not be carried out."""

    order: str
    command: str
    reason: str
    job: str | None = None


@dataclass(frozen=True)
class Record:
    """An event with its place in the log and its time.

    Attributes:
        more: Whether it counts only together with the next one: a decision that was torn is none.
    """

    seq: int
    ts: float
    event: Event
    more: bool = False


EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        RunCreated,
        SupervisorStarted,
        SupervisorLeft,
        MachineSeen,
        JobPlaced,
        AttemptStarted,
        AttemptEnded,
        StopBegun,
        PauseBegun,
        GraceOver,
        JobFrozen,
        JobThawed,
        JobReleased,
        ResumeWanted,
        MemoryRecovered,
        RateCutOrdered,
        RetryScheduled,
        JobQueued,
        JobFinished,
        OrderDone,
        CommandRejected,
    )
}


def record_to_json(record: Record) -> dict[str, Any]:
    """Return the line of a record as a dict, keys in the order of the format."""
    data = encode(record.event)
    more = {"more": True} if record.more else {}
    return {
        "v": SCHEMA_VERSION,
        "seq": record.seq,
        "ts": round(record.ts, 6),
        "type": type(record.event).__name__,
        "job": data.pop("job", None),
        "attempt": data.pop("attempt", None),
        "data": data,
        **more,
    }


def record_from_json(line: dict[str, Any]) -> Record:
    """Return the record of a line.

    Raises:
        ValueError: The line is of a newer schema, or of no known type.
        KeyError, TypeError: Something that belongs there is missing.
    """
    if line["v"] > SCHEMA_VERSION:
        message = f"event format {line['v']} is newer than this program, which knows {SCHEMA_VERSION}"
        raise ValueError(message)
    if line["type"] not in EVENTS:
        message = f"unknown event {line['type']!r}"
        raise ValueError(message)
    data = dict(line["data"])
    for key in ("job", "attempt"):
        if line.get(key) is not None:
            data[key] = line[key]
    return Record(line["seq"], line["ts"], decode(EVENTS[line["type"]], data), more=line.get("more") is True)
