"""Why the queued jobs of a run wait; of those that ask for the same, most are not even decoded for that."""

from __future__ import annotations

from parallel_ml.core.codec import encode
from parallel_ml.core.model import JobState
from parallel_ml.records import replace
from parallel_ml.store.cached_jobs import NO_SENSE, CachedJobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from parallel_ml.core.model import RunState

_QUEUED = JobState.QUEUED.value
_HOLDS_NOTHING = frozenset(state.value for state in JobState if state.finished or state is JobState.QUEUED)


def reasons_of(state: RunState, states: Mapping[str, str]) -> Mapping[str, str]:
    """Return why each queued job waits, by its name, as `placement.waiting_reasons` has it.

    Args:
        state: The run.
        states: The state of each of its jobs.
    """
    queued = [name for name, told in states.items() if told == _QUEUED]
    if not queued:
        return {}
    from parallel_ml.core.placement import reasons_in_turn, waiting_reasons  # noqa: PLC0415 - only where jobs wait

    jobs = state.jobs
    if not isinstance(jobs, CachedJobs):
        return waiting_reasons(state, state.machine)
    told = [jobs.raw_of(name) or encode(jobs[name], sparing=True) for name in queued]
    try:
        queue = sorted(map(_in_queue, told))
        needed = {name for job in told for name in job["spec"].get("depends_on", ())}
    except NO_SENSE:
        return waiting_reasons(state, state.machine)
    looked_at = {name: jobs[name] for name in states if states[name] not in _HOLDS_NOTHING or name in needed}
    return reasons_in_turn(
        replace(state, jobs=looked_at),
        state.machine,
        [(name, kind or None) for *_, name, kind in queue],
        jobs.__getitem__,
    )


def _in_queue(job: Any) -> tuple[int, int, str, str]:
    """Return a queued job's place in the order of serving, and what it asks for, "" where it waits for other jobs."""
    spec = job["spec"]
    wants = "" if spec.get("depends_on") else f"{spec.get('resources')} {job.get('adjustment')}"
    return -spec.get("priority", 0), spec["position"], spec["name"], wants
