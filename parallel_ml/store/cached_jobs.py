"""The jobs of a run as the cache has them: each is decoded when it is asked for, and of most nobody asks."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from parallel_ml.core.codec import decode
from parallel_ml.core.model import Job, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

NO_SENSE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What decoding something raises that is not what it should be."""
_STATES = frozenset(state.value for state in JobState)


class CachedJobs(MutableMapping[str, Job]):
    """Jobs by name, to be used like a dict of them.

    Attributes:
        raw: Those that were not replaced yet, as JSON values.
    """

    def __init__(self, raw: dict[str, Any], afresh: Callable[[], Mapping[str, Job]]) -> None:
        """Take the jobs of a cache.

        Args:
            raw: Its JSON values by the jobs' names.
            afresh: Makes the same jobs from the log, should the cache make no sense.
        """
        self.raw = dict(raw)
        self._jobs: dict[str, Job | None] = dict.fromkeys(raw)
        self._afresh = afresh

    def __getitem__(self, name: str) -> Job:
        """Return a job."""
        job = self._jobs[name]
        return self._decoded(name) if job is None else job

    def __setitem__(self, name: str, job: Job) -> None:
        """Put a job in the place of one, or behind all others."""
        self.raw.pop(name, None)
        self._jobs[name] = job

    def __delitem__(self, name: str) -> None:
        """Take a job out."""
        self.raw.pop(name, None)
        del self._jobs[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._jobs)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._jobs)

    def state_of(self, name: str) -> str:
        """Return the state of a job, decoded or not."""
        raw = self.raw.get(name)
        told = raw.get("state", JobState.QUEUED.value) if isinstance(raw, dict) else None
        return told if told in _STATES else self[name].state.value

    def _decoded(self, name: str) -> Job:
        try:
            self._jobs[name] = job = decode(Job, self.raw[name])
        except NO_SENSE:
            made = self._afresh()
            self._jobs.update({one: made[one] for one in self.raw})
            self.raw.clear()
            return made[name]
        return job
