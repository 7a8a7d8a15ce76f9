"""Reading the logs of several jobs as one: in the order of time, with what the supervisor has to say of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from parallel_ml.core import events as ev
from parallel_ml.core.story import told
from parallel_ml.monitor.follow import CHUNK_BYTES, LogFollower, parse_line
from parallel_ml.store.job_status import iso
from parallel_ml.store.journal import read_records, read_records_of
from parallel_ml.store.layout import RunLayout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Timed = tuple[str, str, dict[str, Any]]
    """When a record is told, its job, and the record."""

LEAST_PIECE_BYTES, MOST_BYTES = 64 << 10, 16 << 20
"""The logs of a run are read in pieces: of each so much at least, and of all together no more where that allows it."""

_FEW = 4
"""For so many jobs each line of the events is looked through for their names before it is read."""


class LogReader:
    """Reads the logs of several jobs in the order of time, with what the supervisor has to say of them.

    The lines of one job come as they stand in its log, also where the clock was set back meanwhile. What is newer than
    the lines of a log that are still to be read waits for these: a call reads a piece of each log and no more.
    """

    def __init__(self, layout: RunLayout, jobs: Sequence[str], positions: Mapping[str, int]) -> None:
        """Begin at the beginning.

        Args:
            layout: The run.
            jobs: The jobs that are read.
            positions: Each job's place in the run.
        """
        files = {job: layout.job(job) for job in jobs}
        self._logs = {job: _ReadLog(job, LogFollower(files[job].log, files[job].older_log)) for job in jobs}
        self._piece_bytes = max(LEAST_PIECE_BYTES, min(CHUNK_BYTES, MOST_BYTES // max(1, len(jobs))))
        self._told: list[_Timed] = []
        self._events = layout.events
        self._offset = 0
        self._positions = positions

    def poll(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what came since the last call: each record of `log.jsonl` with its job's name, oldest first.

        A large log comes in pieces: nothing is left for now when nothing is returned. Of a job that runs there are also
        records with `"progress": true`: what a line looked like that it draws again and again.
        """
        while True:
            # The events first: what a job printed before one of them is on the disk by then.
            self._read_events()
            for log in self._logs.values():
                log.read_on(self._piece_bytes)
            until = min((log.read_until for log in self._logs.values() if log.has_more), default=None)
            if (found := self._taken(until)) or until is None:
                return [(job, record) for _, job, record in found]

    def _taken(self, until: str | None) -> list[_Timed]:
        """Give out what is no newer than a time; None is all."""
        found = [entry for log in self._logs.values() for entry in log.take(until)]
        count = len(self._told) if until is None else bisect_right(self._told, until, key=_time)
        found += self._told[:count]
        del self._told[:count]
        return sorted(found, key=_time)

    def _read_events(self) -> None:
        if len(self._logs) > _FEW:
            records, self._offset = read_records(self._events, self._offset)
        else:  # of the events of a thousand jobs those of one
            records, self._offset = read_records_of(self._events, self._offset, self._logs)
        for entry in records:
            event = entry.event
            if isinstance(event, ev.JobEvent) and event.job in self._logs and (text := told(event)):
                self._told.append((iso(entry.ts) or "", event.job, self._system_line(event.job, entry.ts, text)))
        if records:
            self._told.sort(key=_time)

    def _system_line(self, job: str, ts: float, text: str) -> dict[str, Any]:
        return {
            "timestamp": iso(ts),
            "process_id": self._positions.get(job),
            "pid": None,
            "message": text,
            "type": "system",
        }


class _ReadLog:
    """One job's log, and what was read of it and not given out yet."""

    def __init__(self, job: str, follower: LogFollower) -> None:
        self._job, self._follower = job, follower
        self._waiting: list[_Timed] = []
        self._begin = 0
        self.read_until = ""
        """The time of the newest line that was read."""

    @property
    def has_more(self) -> bool:
        """Whether lines are left in the file."""
        return not self._follower.caught_up

    def read_on(self, most_bytes: int) -> None:
        """Read the next piece where all of the last one was given out."""
        if self._begin < len(self._waiting):
            return
        self._waiting, self._begin = [], 0
        records = [record for line in self._follower.poll(most_bytes) if (record := parse_line(line)) is not None]
        if len(records) > 1 and "dropped" in records[0]:  # written when the lines behind it were there already
            records[0] = {**records[0], "timestamp": records[1].get("timestamp")}
        for record in records:
            self.read_until = max(self.read_until, str(record.get("timestamp", "")))
            self._waiting.append((self.read_until, self._job, record))

    def take(self, until: str | None) -> list[_Timed]:
        """Give out what is no newer than a time; None is all."""
        begin = self._begin
        self._begin = len(self._waiting) if until is None else bisect_right(self._waiting, until, lo=begin, key=_time)
        return self._waiting[begin : self._begin]


def _time(entry: _Timed) -> str:
    return entry[0]
