"""The jobs of a run as the cache has them: each is decoded when it is asked for, and of most nobody asks."""

from __future__ import annotations

from collections.abc import MutableMapping

from parallel_ml.core.codec import decode
from parallel_ml.core.model import Job, JobState
from parallel_ml.store.state_cache import read_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from parallel_ml.store.state_cache import CachedText

NO_SENSE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What decoding something raises that is not what it should be."""
_STATES = frozenset(state.value for state in JobState)


class CachedJobs(MutableMapping[str, Job]):
    """Jobs by name, to be used like a dict of them."""

    def __init__(self, cached: CachedText, afresh: Callable[[], Mapping[str, Job]]) -> None:
        """Take the jobs of a cache.

        Args:
            cached: The cache; it is used up.
            afresh: Makes the same jobs from the log, should the cache make no sense.
        """
        self._raw, self._lines = cached.raw, cached.lines
        self._states, self._told_lines = cached.states, cached.told
        self._told: dict[str, Any] | None = None
        self._jobs: dict[str, Job | None] = dict.fromkeys(cached.lines or cached.raw)
        self._all = (*self._jobs,)
        self._afresh = afresh

    def __getitem__(self, name: str) -> Job:
        """Return a job."""
        job = self._jobs[name]
        return self._decoded(name) if job is None else job

    def __setitem__(self, name: str, job: Job) -> None:
        """Put a job in the place of one, or behind all others."""
        self._forget(name)
        self._jobs[name] = job

    def __delitem__(self, name: str) -> None:
        """Take a job out."""
        self._forget(name)
        del self._jobs[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._jobs)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._jobs)

    def state_of(self, name: str) -> str:
        """Return the state of a job, decoded or not."""
        told = self._states.get(name)
        if told is None:
            raw = self.raw_of(name)
            told = None if raw is None else raw.get("state", JobState.QUEUED.value)
        return told if told in _STATES else self[name].state.value

    def raw_of(self, name: str) -> dict[str, Any] | None:
        """Return a job as JSON values, as the cache has it; None where it was replaced, or makes no sense."""
        if name in self._lines:
            self.read([name])
        raw = self._raw.get(name)
        return raw if isinstance(raw, dict) else None

    def read(self, names: Iterable[str]) -> None:
        """Read jobs that will be asked for: together they cost less than one by one."""
        wanted = {name: line for name in names if (line := self._lines.pop(name, None)) is not None}
        try:
            found = read_lines(list(wanted.values()), "{", "}")
            self._raw.update({name: found[name] for name in wanted})
        except NO_SENSE:
            self._raw.update(dict.fromkeys(wanted))

    def told_of(self, name: str) -> Any:
        """Return what the cache has ready to be told of a job, or None."""
        if self._told is None:
            try:
                told = read_lines(self._told_lines, "[", "]")
                self._told = {one: about for one, about in zip(self._all, told, strict=True) if one in self._states}
            except NO_SENSE:
                self._told = {}
        return self._told.get(name)

    def told_lines(self) -> dict[str, str]:
        """Return the same of all jobs, those that have it and others, as lines of JSON by their names."""
        if len(self._all) != len(self._told_lines):
            return {}
        return {one: line for one, line in zip(self._all, self._told_lines, strict=True) if one in self._states}

    def _forget(self, name: str) -> None:
        for known in (self._raw, self._lines, self._states, self._told or {}):
            known.pop(name, None)

    def _decoded(self, name: str) -> Job:
        try:
            self._jobs[name] = job = decode(Job, self.raw_of(name))
        except NO_SENSE:
            made = self._afresh()
            for one in (*self._raw, *self._lines):
                self._forget(one)
                self._jobs[one] = made[one]
            return made[name]
        return job
