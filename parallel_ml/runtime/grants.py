"""What a run is granted: places on cards that are free now and promised to no other run, written down as leases."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from parallel_ml.core.index import JobIndex
from parallel_ml.core.model import Allocation, Attempt, Job, Machine, ProcessId, RunState
from parallel_ml.core.placement import Placement, place
from parallel_ml.core.stimuli import Ended
from parallel_ml.errors import StoreError
from parallel_ml.gpu.leases import Claim, Lease, Leases
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.store.layout import RunLayout

PATIENCE_S = 5.0
"""How long a registry that could not be used is left alone."""
BARE_LOOK_S = 0.5
"""Where there is no card, only cores and memory are looked at, which hardly ever change: not at each start."""
_MOST_XIDS = 3
"""The last ones are told of in a job's error."""
TELL_EVERY_S = 10.0
TELL_SHARE = 32
"""Memory of other programs that moves by less than this part of a card is not told of: it always moves."""


class Grants:
    """Looks at the machine, places jobs on it, and keeps the leases of what they hold.

    Attributes:
        problem: Why nothing can be placed on real cards now, or "".
    """

    def __init__(self, gpus: GPUManager, leases: Leases, layout: RunLayout, me: ProcessId) -> None:
        """Keep the parts; nothing is looked at yet.

        Args:
            gpus: Sees the cards.
            leases: This run's.
            layout: The run's files.
            me: The supervisor, which holds a lease until the attempt's shim does.
        """
        self.gpus, self.problem = gpus, ""
        self._leases, self._layout, self._me = leases, layout, me
        self._idle_until = 0.0
        self._told_at = 0.0
        self._bare: Machine | None = None
        self._bare_until = 0.0

    def take_over(self, state: RunState) -> None:
        """Write down what live attempts hold already."""
        for job, attempt in _live(state.jobs.values()):
            with self._noting_problems():
                self._leases.hold([self._claim(job, attempt.number, attempt.allocation)], attempt.shim or self._me)

    def look(self, jobs: Iterable[Job]) -> Machine:
        """Return the machine as it is now: what this run's own processes hold is not foreign.

        Args:
            jobs: Those of this run that hold something, at least.
        """
        if self._bare is not None and time.monotonic() < self._bare_until:
            return self._bare
        own = [attempt.shim.pid for _, attempt in _live(jobs) if attempt.shim is not None]
        others: tuple[Lease, ...] = ()
        with self._noting_problems():  # without them too much may be placed, but never leased
            others = () if self.gpus.simulated else self._leases.others()
        machine = self.gpus.snapshot(own, others)
        self._bare, self._bare_until = None if machine.devices else machine, time.monotonic() + BARE_LOOK_S
        return machine

    def place(self, state: RunState, machine: Machine, index: JobIndex | None = None) -> list[Placement]:
        """Return the jobs that start now; what they hold is leased already.

        Args:
            state: The run.
            machine: What there is to be placed on.
            index: The run's jobs, sorted; without it all of them are looked at.
        """
        if time.monotonic() < self._idle_until:
            return []
        placed = {one.job: one for one in place(state, machine, index)}
        if not placed:
            return []
        jobs = state.jobs
        claims = [
            self._claim(jobs[one.job], len(jobs[one.job].attempts) + 1, one.allocation) for one in placed.values()
        ]
        granted: list[Claim] = []
        with self._noting_problems():
            granted = self._leases.acquire(claims, self._me, machine.devices)
        return [placed[claim.job] for claim in granted]

    def started(self, job: str, attempt: int, shim: ProcessId) -> None:
        """Let the attempt's lease live as long as its shim."""
        with self._noting_problems():
            self._leases.hand_over(job, attempt, shim)

    def ended(self, job: str, attempt: int) -> None:
        """Give back what an attempt held."""
        with self._noting_problems():
            self._leases.release(job, attempt)

    def leased(self) -> dict[str, float]:
        """Return how much of each card's room for jobs other runs have, by uuid."""
        found: dict[str, float] = {}
        with self._noting_problems():
            for lease in () if self.gpus.simulated else self._leases.others():
                found[lease.gpu_uuid] = found.get(lease.gpu_uuid, 0.0) + lease.slot_fraction
        return found

    def with_xids(self, state: RunState, ended: Ended) -> Ended:
        """Return the end of an attempt with what its cards reported meanwhile, as evidence of why it went wrong.

        NVML does not tell which program an Xid is of: beside other programs on the card it may be theirs.
        """
        attempt = state.jobs[ended.job].attempt
        if attempt is None or attempt.number != ended.attempt or ended.facts.code == 0:
            return ended
        indexes = {share.gpu_uuid: share.gpu_index for share in attempt.allocation.shares}
        if not indexes:
            return ended
        told = [event for event in self.gpus.xids() if event.uuid in indexes and event.at >= attempt.placed_at]
        if not told:
            return ended
        texts = dict.fromkeys(f"GPU {indexes[event.uuid]} reported {event.text}" for event in told)
        error = "; ".join(filter(None, [ended.facts.error, *list(texts)[-_MOST_XIDS:]]))
        return replace(ended, facts=replace(ended.facts, error=error))

    def keep(self) -> None:
        """Put back what the registry lost, and try again what failed, but not at each turn."""
        if time.monotonic() >= self._idle_until:
            with self._noting_problems():
                self._leases.keep()

    def worth_telling(self, seen: Machine, machine: Machine, now: float) -> bool:
        """Say whether a machine differs from the one `seen` so that the log should have it."""
        if machine == seen:
            return False
        moved = len(machine.devices) != len(seen.devices) or any(
            (new.uuid, new.lost, new.leased_to) != (old.uuid, old.lost, old.leased_to)
            for new, old in zip(machine.devices, seen.devices, strict=False)
        )
        if not moved and now < self._told_at + TELL_EVERY_S:
            return any(
                abs(new.foreign_bytes - old.foreign_bytes) * TELL_SHARE > new.memory_bytes
                for new, old in zip(machine.devices, seen.devices, strict=False)
            )
        self._told_at = now
        return True

    def _claim(self, job: Job, number: int, allocation: Allocation) -> Claim:
        shim_file = self._layout.job(job.name).attempt(number).shim
        return Claim(job.name, number, allocation, shim_file)

    @contextlib.contextmanager
    def _noting_problems(self) -> Iterator[None]:
        """Take a registry that cannot be used for a reason to wait, never for one to end."""
        try:
            yield
        except StoreError as error:
            self.problem = str(error)
            self._idle_until = time.monotonic() + PATIENCE_S
        else:
            if time.monotonic() >= self._idle_until:
                self.problem = self._leases.note


def _live(jobs: Iterable[Job]) -> list[tuple[Job, Attempt]]:
    """Return the jobs that hold something, with the attempts that hold it."""
    return [(job, job.attempts[-1]) for job in jobs if job.holds is not None]


def losses(seen: Machine, machine: Machine) -> Iterator[str]:
    """Yield a sentence for each card that is lost now and was not when it was `seen`."""
    known = {device.uuid for device in seen.devices if device.lost}
    alive = any(not device.lost for device in machine.devices)
    for device in machine.devices:
        if device.lost and device.uuid not in known:
            what = device.trouble or "is lost: it fell off the bus or needs a reset"
            if alive:
                yield f"GPU {device.index} {what}; its jobs are tried on another card"
            else:
                yield f"GPU {device.index} {what}; none is left: jobs that need one wait for a resume with one"
