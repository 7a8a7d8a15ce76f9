"""Following a run from outside: what happens to its jobs and which epochs they end, from any place of it on.

A place is a short text that holds for as long as the run's files do, also when whoever gave it has died: how far the
log of events was told, and of each job that lives then how many epochs. From it the very next news follow. Only the
epochs before a job's new attempt may be told twice.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from parallel_ml.core import events as ev
from parallel_ml.core.model import JobState
from parallel_ml.errors import UsageError
from parallel_ml.monitor.follow import FileFollower, parse_line
from parallel_ml.records import dataclass, field
from parallel_ml.store.files import open_stream, read_whole
from parallel_ml.store.job_status import iso
from parallel_ml.store.journal import NEWLINE, read_records
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_view import RunView

BEGINNING = "0.0"
"""The place before all news."""
_PLACE = re.compile(r"[0-9]{1,15}\.[0-9]{1,9}(-[0-9]{1,9}\.[0-9]{1,9}){0,1000}")
_NOT_METRICS = frozenset({"epoch", "epochs", "source"})


@dataclass(frozen=True)
class News:
    """Something that happened.

    Attributes:
        place: Where the run has been told up to with it.
        data: What it is: `type`, `timestamp`, and what belongs to the type; `job` where it is about one.
    """

    place: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A place, taken apart.

    Attributes:
        offset: Bytes of the log.
        passed: Records after them.
        told: How many epochs of each job that lives there.
    """

    offset: int = 0
    passed: int = 0
    told: dict[str, int] = field(default_factory=dict)


class RunTail:
    """Tells the news of a run: each event of a job behind the epochs that came before it."""

    def __init__(self, layout: RunLayout, names: Sequence[str], place: Place) -> None:
        """Begin at a place.

        Args:
            layout: The run.
            names: Its jobs, in their order.
            place: Where to begin.
        """
        self.seq = 0
        """The number of the last record that was told."""
        self._layout = layout
        self._names = names
        self._numbers = {name: number for number, name in enumerate(names)}
        self._offset, self._end, self._passed = place.offset, place.offset, 0
        self._skip = place.passed
        self._waiting: deque[ev.Record] = deque()
        self._epochs = {name: _Epochs(layout, name, skip=count) for name, count in place.told.items()}
        self._live = dict.fromkeys(place.told)

    @classmethod
    def from_now(cls, view: RunView) -> RunTail:
        """Return one that tells what comes after what `view` has read."""
        layout = view.layout
        told = {name: _count_lines(layout, name) for name in view.live_jobs()}
        tail = cls(layout, list(view.state.jobs), Place(view.offset, 0, told))
        tail.seq = view.state.seq
        return tail

    def fork(self, place: str) -> RunTail:
        """Return another one of the same run, from a place on.

        Raises:
            UsageError: There is no such place in the run.
        """
        return RunTail(self._layout, self._names, read_place(self._layout, self._names, place))

    @property
    def place(self) -> str:
        """Where the run has been told up to."""
        told = "".join(f"-{self._numbers[name]}.{self._epochs[name].count}" for name in self._live)
        return f"{self._offset}.{self._passed}{told}"

    def poll(self, until: RunTail | None = None, most: int = 1000) -> list[News]:
        """Return what came since the last call; [] where that is nothing.

        Args:
            until: Tell no more than this one has, which is not behind.
            most: About how many at a time.

        Raises:
            StoreError: The log is damaged.
        """
        news: list[News] = []
        self._read()
        while self._waiting and len(news) < most:
            if until is not None and self._waiting[0].seq > until.seq:
                break
            record = self._waiting.popleft()
            news += self._tell(record)
            self.seq = record.seq
        if not self._waiting:
            self._offset, self._passed = self._end, 0
        if not self._waiting or until is not None:
            for name in list(self._live):
                news += self._tell_epochs(name, None if until is None else until.told(name))
        return news

    def told(self, job: str) -> int | None:
        """Return how many epochs of a job were told; None where it does not live."""
        epochs = self._epochs.get(job) if job in self._live else None
        return None if epochs is None else epochs.count

    def _read(self) -> None:
        if self._waiting:
            return
        self._offset, self._passed = self._end, 0
        if _size(self._layout) == self._end:
            return
        records, self._end = read_records(self._layout.events, self._offset)
        self._passed, self._skip = min(self._skip, len(records)), 0
        self._waiting.extend(records[self._passed :])

    def _tell(self, record: ev.Record) -> Iterator[News]:
        event = record.event
        told = _told(event)
        if isinstance(event, ev.AttemptEnded) and event.job in self._live:
            yield from self._tell_epochs(event.job)
        self._passed += 1
        if isinstance(event, ev.JobPlaced):
            self._epochs.setdefault(event.job, _Epochs(self._layout, event.job))
            self._live[event.job] = None
        elif isinstance(event, ev.AttemptEnded):
            self._live.pop(event.job, None)
        elif isinstance(event, ev.JobFinished):
            self._epochs.pop(event.job, None)
        if told is not None:
            about = {"job": event.job} if isinstance(event, ev.JobEvent) else {}
            yield News(self.place, {**told, **about, "timestamp": iso(record.ts)})

    def _tell_epochs(self, job: str, until: int | None = None) -> Iterator[News]:
        epochs = self._epochs[job]
        for point in epochs.read(until):
            metrics = {name: value for name, value in point.items() if name not in _NOT_METRICS}
            yield News(
                self.place,
                {
                    "type": "epoch_progress",
                    "job": job,
                    "epoch": point.get("epoch"),
                    "epochs": point.get("epochs"),
                    "metrics": metrics,
                    "timestamp": epochs.changed_at(),
                },
            )


class _Epochs:
    """The epochs of one job, each given once; those that are told again after a resume are given again."""

    def __init__(self, layout: RunLayout, job: str, *, skip: int = 0) -> None:
        self._path = layout.job(job).metrics
        self._follower = FileFollower(self._path)
        self._skip = skip
        self._known: list[int] = []
        """A hash of each line so far."""

    @property
    def count(self) -> int:
        """How many were given or passed over."""
        return max(len(self._known), self._skip)

    def changed_at(self) -> str | None:
        """Return when the file was written to."""
        try:
            return iso(os.stat(self._path).st_mtime)
        except OSError:
            return datetime.now(timezone.utc).isoformat(timespec="microseconds")

    def read(self, until: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield those that came since the last call, up to a number of them all."""
        while (growth := self._follower.poll()).lines:
            lines = [hash(line) for line in growth.lines]
            known = 0
            if growth.restarted:
                while known < min(len(lines), len(self._known)) and lines[known] == self._known[known]:
                    known += 1
                del self._known[known:]
                self._skip = 0
            for line, mark in zip(growth.lines[known:], lines[known:], strict=True):
                if until is not None and len(self._known) >= until:
                    return
                self._known.append(mark)
                point = parse_line(line) if len(self._known) > self._skip else None
                if point is not None:
                    yield point


def read_place(layout: RunLayout, names: Sequence[str], text: str) -> Place:
    """Return the place that a text says.

    Raises:
        UsageError: There is no such place in the run.
    """
    if not _PLACE.fullmatch(text):
        raise UsageError(f"{text[:80]!r} is no place in a run")
    first, *rest = [tuple(map(int, part.split("."))) for part in text.split("-")]
    if any(number >= len(names) for number, _ in rest) or not _is_boundary(layout, first[0]):
        raise UsageError(f"{text[:80]!r} is no place in run {layout.dir.name}")
    return Place(first[0], first[1], {names[number]: count for number, count in rest})


def _is_boundary(layout: RunLayout, offset: int) -> bool:
    """Whether a record may begin there."""
    if offset == 0:
        return True
    try:
        with open_stream(layout.events) as stream:
            stream.seek(offset - 1)
            return stream.read(1) == NEWLINE
    except OSError:
        return False


def _count_lines(layout: RunLayout, job: str) -> int:
    try:
        return read_whole(layout.job(job).metrics, links=False).count(NEWLINE)
    except OSError:
        return 0


def _size(layout: RunLayout) -> int | None:
    try:
        return os.stat(layout.events).st_size
    except OSError:
        return None


def _told(event: ev.Event) -> dict[str, Any] | None:
    """Return what an event tells of itself; None for what nobody follows."""
    if isinstance(event, ev.SupervisorStarted):
        return {"type": "supervisor", "supervisor": "running"}
    if isinstance(event, ev.SupervisorLeft):
        return {"type": "supervisor", "supervisor": "gone"}
    if isinstance(event, ev.MemoryRecovered):
        return {"type": "out_of_memory", "attempt": event.attempt, "text": event.text}
    if isinstance(event, ev.AttemptEnded):
        return {
            "type": "attempt_ended",
            "attempt": event.attempt,
            "outcome": str(event.outcome),
            "error": event.error,
        }
    state = event.state if isinstance(event, ev.JobFinished) else _STATES.get(type(event))
    if state is None:
        return None
    told: dict[str, Any] = {"type": "job_state", "state": state.word}
    if isinstance(event, (ev.JobPlaced, ev.AttemptStarted)):
        told["attempt"] = event.attempt
    if isinstance(event, ev.JobPlaced):
        told["allocation"] = event.allocation.to_dict()
    if isinstance(event, ev.JobFinished):
        told["error"] = event.error
    return told


_STATES: dict[type[ev.Event], JobState] = {
    ev.JobPlaced: JobState.STARTING,
    ev.AttemptStarted: JobState.RUNNING,
    ev.StopBegun: JobState.STOPPING,
    ev.PauseBegun: JobState.PAUSING,
    ev.JobFrozen: JobState.PAUSED,
    ev.JobReleased: JobState.PAUSED,
    ev.JobThawed: JobState.RUNNING,
    ev.RetryScheduled: JobState.RETRYING,
    ev.JobQueued: JobState.QUEUED,
}
