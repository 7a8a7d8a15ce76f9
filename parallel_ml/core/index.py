"""The jobs of a run, sorted by what is asked of them at each turn: who lives, who may start, who is due, who changed.

It stands beside the state and is kept up to date one job at a time, so that a turn costs what happened in it, however
many jobs there are.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from parallel_ml.core.events import Event, JobEvent, RunCreated, SupervisorStarted
from parallel_ml.core.machine import due_time
from parallel_ml.core.model import JobState
from parallel_ml.core.placement import serving_key

if TYPE_CHECKING:
    from parallel_ml.core.model import Job, Resources, RunState
    from parallel_ml.core.placement import Lanes

_FAILED = (JobState.FAILED, JobState.STOPPED)
_SLACK = 64


class JobIndex:
    """Sorts the jobs of one run.

    Attributes:
        lanes: The queued jobs that wait for no other job, in the order of serving, by what they ask for.
        asked: How many jobs of the whole run ask for what at first, whatever has become of them.
    """

    def __init__(self, state: RunState) -> None:
        """Sort all jobs of a run as it stands.

        Args:
            state: The run; `take` must be told of each event that it has folded.
        """
        self._state = state
        self._changed: set[str] = set()
        self._doubtful: set[str] = set()
        self._sort_all()

    def take(self, event: Event) -> None:
        """Take in what an event has done to the state that it was folded into."""
        if isinstance(event, JobEvent):
            self._file(self._state.jobs[event.job])
        elif isinstance(event, RunCreated) or (isinstance(event, SupervisorStarted) and event.clock_set_s):
            self._sort_all()

    @property
    def finished(self) -> bool:
        """Whether every job has finished."""
        return len(self._finished) == len(self._state.jobs)

    @property
    def living(self) -> list[Job]:
        """The jobs that hold something, in the run's order."""
        return self._jobs(self._living)

    def due(self, now: float) -> list[Job]:
        """Return the jobs that something is due for, in the run's order."""
        soon = []
        while self._times and self._times[0][0] <= now:
            at, name = heapq.heappop(self._times)
            if self._due.get(name) == at:
                soon.append((at, name))
        for entry in dict.fromkeys(soon):  # they stay due until an event says otherwise
            heapq.heappush(self._times, entry)
        return self._jobs({name for _, name in soon})

    @property
    def next_due(self) -> float | None:
        """When `due` will next have something, or None."""
        while self._times and self._due.get(self._times[0][1]) != self._times[0][0]:
            heapq.heappop(self._times)
        return self._times[0][0] if self._times else None

    def doubtful(self) -> list[Job]:
        """Return, once each, the queued jobs that may need one that failed or was stopped, in the run's order."""
        names, self._doubtful = self._doubtful, set()
        return [job for job in self._jobs(names) if job.state is JobState.QUEUED]

    def changed(self) -> list[Job]:
        """Return the jobs that something has happened to since the last call, in the run's order; at first all."""
        names, self._changed = self._changed, set()
        return self._jobs(names)

    def _jobs(self, names: Iterable[str]) -> list[Job]:
        jobs = self._state.jobs
        return sorted((jobs[name] for name in names), key=lambda job: job.spec.position)

    def _sort_all(self) -> None:
        jobs = self._state.jobs
        self.asked = Counter(job.spec.resources for job in jobs.values())
        self.lanes: Lanes = {}
        self._lane_of: dict[str, Resources] = {}
        self._living: set[str] = set()
        self._finished: set[str] = set()
        self._due: dict[str, float] = {}
        self._times: list[tuple[float, str]] = []
        self._missing = {name: set(job.spec.depends_on) for name, job in jobs.items() if job.spec.depends_on}
        self._needed_by: dict[str, list[str]] = {}
        for name, needs in self._missing.items():
            for needed in needs:
                self._needed_by.setdefault(needed, []).append(name)
        self._doubtful = set()
        for job in sorted(jobs.values(), key=serving_key):  # so that each goes to the end of its lane
            self._file(job)
        self._changed = set(jobs)

    def _file(self, job: Job) -> None:
        name, state = job.spec.name, job.state
        self._changed.add(name)
        _put(self._living, name, belongs=job.holds is not None)
        self._file_time(name, due_time(job))
        if state.finished is not (name in self._finished):
            _put(self._finished, name, belongs=state.finished)
            self._tell_dependents(name, state)
        self._file_lane(job)
        if state is JobState.QUEUED and name in self._missing:
            self._doubtful.add(name)

    def _tell_dependents(self, name: str, state: JobState) -> None:
        for dependent in self._needed_by.get(name, ()):
            _put(self._missing[dependent], name, belongs=state is not JobState.SUCCEEDED)
            self._file_lane(self._state.jobs[dependent])
            if state in _FAILED:
                self._doubtful.add(dependent)

    def _file_time(self, name: str, at: float | None) -> None:
        if at is None:
            self._due.pop(name, None)
        elif self._due.get(name) != at:
            self._due[name] = at
            heapq.heappush(self._times, (at, name))
            if len(self._times) > 2 * len(self._due) + _SLACK:  # the others are of times that are no more
                self._times = [(due_at, late) for late, due_at in self._due.items()]
                heapq.heapify(self._times)

    def _file_lane(self, job: Job) -> None:
        """Put a job into the lane where it may start from, and take it out of the one where it was."""
        name = job.spec.name
        wants = job.resources if job.state is JobState.QUEUED and not self._missing.get(name) else None
        before = self._lane_of.get(name)
        if wants == before:
            return
        key = serving_key(job)
        if before is not None:
            lane = self.lanes[before]
            del lane[bisect_left(lane, key)]
            if not lane:
                del self.lanes[before]
            del self._lane_of[name]
        if wants is not None:
            self._lane_of[name] = wants
            insort(self.lanes.setdefault(wants, []), key)


def _put(names: set[str], name: str, *, belongs: bool) -> None:
    if belongs:
        names.add(name)
    else:
        names.discard(name)
