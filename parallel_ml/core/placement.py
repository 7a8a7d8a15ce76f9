"""Which queued jobs start now and what each is granted; why the others wait; what can never fit.

The order is priority (higher first), then position. A job that has to wait lets later ones pass, but it is not
starved: the first that waits for cards, and the first that waits for the CPU, has its room booked ahead on the cards
where least is in its way, and later jobs only get what that leaves. When it starts, the next one is protected. A job
that waits for memory of other programs is not protected: nobody knows when they end, and the cards would idle.
"""

from __future__ import annotations

import heapq
from collections import Counter
from functools import cached_property

from parallel_ml.core.batch import BatchPlan, plan_batch
from parallel_ml.core.model import Allocation, Device, GpuShare, JobState, Machine
from parallel_ml.core.room import Room, asked_bytes, card_count, parts_of, serves, wants_card
from parallel_ml.core.units import format_size
from parallel_ml.core.waiting import why_waiting
from parallel_ml.errors import PlacementError
from parallel_ml.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from parallel_ml.core.index import JobIndex
    from parallel_ml.core.model import Job, JobSpec, Resources, RunState

    Key = tuple[int, int, str]
    Lanes = dict[Resources, list[Key]]
    """Queued jobs in the order of serving, by what they ask for."""


@dataclass(frozen=True)
class Placement:
    """A job that starts now: what it holds, and the batch that this makes (None for a program without one)."""

    job: str
    allocation: Allocation
    batch_size: int | None
    accumulation: int
    evaluation_batch_size: int | None = None


def place(state: RunState, machine: Machine, index: JobIndex | None = None) -> list[Placement]:
    """Return the queued jobs that start now, in the order in which they are served; `state` is not changed.

    Args:
        state: The run.
        machine: What there is to be placed on.
        index: The run's jobs, sorted; without it all of them are looked at.
    """
    lanes = _lanes(state) if index is None else index.lanes
    turn = _Turn(state, machine, lanes, index)
    placements: list[Placement] = []
    # Room only shrinks, so a lane that was refused once in this pass is looked at no more.
    for name in [] if turn.full else _served(lanes, turn.refused):
        if turn.full:
            break
        verdict = turn.judge(state.jobs[name])
        if isinstance(verdict, Placement):
            placements.append(verdict)
    return placements


def serving_key(job: Job) -> Key:
    """Return a queued job's place in the order of serving: by priority, higher first, then by position."""
    return -job.spec.priority, job.spec.position, job.spec.name


def waiting_reasons(state: RunState, machine: Machine) -> dict[str, str]:
    """Return why each queued job waits that `place` would not start now, by name, in one pass."""
    queue = [(job.name, None) for job in _in_order(state.jobs.values())]
    return reasons_in_turn(state, machine, queue, state.jobs.__getitem__)


def reasons_in_turn(
    state: RunState, machine: Machine, queue: Iterable[tuple[str, object]], job_of: Callable[[str], Job]
) -> dict[str, str]:
    """Return the same of jobs that are looked at only where that is needed: `status` has thousands that wait alike.

    Args:
        state: The run; of its jobs those that hold something, and those that others wait for.
        machine: What there is to be placed on.
        queue: The names of the queued jobs in the order of serving. Beside each stands its kind, the same for all that
            ask for the same and wait for no other job; None is not known.
        job_of: Returns a queued job.
    """
    turn = _Turn(state, machine, ())
    reasons: dict[str, str] = {}
    refused: dict[object, str] = {}
    was_at_limit = False
    for name, kind in queue:
        if turn.at_limit and not was_at_limit:
            was_at_limit = True
            refused.clear()  # from here on that is the reason
        verdict = refused[kind] if kind in refused else turn.judge(job_of(name))
        if isinstance(verdict, str):
            reasons[name] = verdict
            if kind is not None:
                refused[kind] = verdict
    return reasons


def waiting_reason(state: RunState, machine: Machine, job: Job) -> str | None:
    """Return why a queued job waits; None where it can start at once, or is not queued.

    For more than one job `waiting_reasons` is the quicker way: each call looks at the whole run.
    """
    return waiting_reasons(state, machine).get(job.name)


def check_fits(specs: Sequence[JobSpec], machine: Machine) -> None:
    """Refuse what could never start, even on this machine alone and idle.

    What other programs hold and other runs leased is not counted: it may come back.

    Raises:
        PlacementError: The first job that can never fit, with what it wants and the most there is, and all others.
    """
    idle = replace(machine, devices=tuple(_idle(device) for device in machine.devices))
    refused = [_never_fits(spec, idle) for spec in specs if Room(idle).fit(spec.resources) is None]
    if refused:
        first, *others = refused
        first.others = tuple(others)
        raise first


def _idle(device: Device) -> Device:
    return Device(device.index, device.uuid, device.name, device.memory_bytes, lost=device.lost)


def cpu_share(machine: Machine, slots: int, asked: int | None = None) -> int | None:
    """Return the cores for each of `slots` jobs side by side; None leaves the framework's default.

    An equal share keeps jobs from making more threads than there are cores. A job alone keeps the default, and a
    number that the user asked for stands.
    """
    if asked is not None:
        return asked
    return max(1, machine.cores // slots) if slots > 1 else None


class _Turn:
    """One pass over the queue: the room that is left shrinks from job to job.

    Attributes:
        refused: Why there is no room, by what was asked for.
    """

    def __init__(
        self, state: RunState, machine: Machine, kinds: Iterable[Resources], index: JobIndex | None = None
    ) -> None:
        self._state, self._index = state, index
        self._machine = machine
        self._room = Room(machine)
        self._open = Room(machine)
        """The room without what is booked ahead."""
        self._living = 0
        self.refused: dict[Resources, str] = {}
        self._protected: dict[bool, str] = {}
        """The job that has booked ahead, for cards (True) and for the CPU (False)."""
        self._kinds = {wants_card(wants, machine) for wants in kinds}
        """Whether queued jobs want cards (True), the CPU (False), or either."""
        for job in state.jobs.values() if index is None else index.living:
            holds = job.holds
            if holds is not None:
                self._take(holds.shares, job.resources)

    @cached_property
    def _slots(self) -> int:
        everything = (job.spec.resources for job in self._state.jobs.values())
        asked = Counter(everything) if self._index is None else self._index.asked
        return _side_by_side(asked, self._machine, self._state.max_parallel)

    @property
    def full(self) -> bool:
        """Whether none of the queued jobs can start, whatever else it asks for."""
        return self.at_limit or not any(self._room.has_slot(on_card=on_card) for on_card in self._kinds)

    @property
    def at_limit(self) -> bool:
        """Whether the run has as many jobs at once as its user wants."""
        return self._state.max_parallel is not None and self._living >= self._state.max_parallel

    def judge(self, job: Job) -> Placement | str:
        """Return the job's placement, booked, or why it waits."""
        waits_for = [name for name in job.spec.depends_on if not self._succeeded(name)]
        if waits_for:
            return f"waits for {', '.join(waits_for)}"
        if self.at_limit:
            return f"--max-parallel {self._state.max_parallel} reached"
        wants = job.resources
        if wants in self.refused:
            return self.refused[wants]
        shares = self._open.fit(wants)
        if shares is None:
            return self.refused.setdefault(wants, self._refuse(job))
        self._take(shares, wants)
        return self._placement(job, shares)

    def _refuse(self, job: Job) -> str:
        wants = job.resources
        on_card = wants_card(wants, self._machine)
        if self._room.fit(wants) is not None:
            return f"lets {' and '.join(self._protected.values())} go first"
        if on_card not in self._protected and self._open.reserve(wants):
            self._protected[on_card] = job.name
        return why_waiting(self._room, wants)

    def _take(self, shares: tuple[GpuShare, ...], wants: Resources) -> None:
        self._living += 1
        self._room.take(shares, wants)
        self._open.take(shares, wants)

    def _succeeded(self, name: str) -> bool:
        job = self._state.jobs.get(name)
        return job is not None and job.state is JobState.SUCCEEDED

    def _placement(self, job: Job, shares: tuple[GpuShare, ...]) -> Placement:
        spec = job.spec
        # The number of threads changes the bits of a result: a further attempt keeps that of the first.
        cpus = (
            job.attempts[0].allocation.cpus
            if job.attempts
            else cpu_share(self._machine, self._slots, spec.resources.cpus)
        )
        allocation = Allocation(spec.position, shares, cpus, spec.resources.memory_bytes)
        if spec.batch_size is None:
            return Placement(spec.name, allocation, None, spec.accumulation)
        batch = plan_batch(spec.batch_size, allocation.memory_limit_mb, spec.accumulation)
        learned = job.adjustment
        if learned.batch_size is not None and learned.batch_size < batch.batch_size:
            batch = BatchPlan(learned.batch_size, learned.accumulation or 1)
        return Placement(spec.name, allocation, batch.batch_size, batch.accumulation, learned.evaluation_batch_size)


def _in_order(jobs: Iterable[Job]) -> list[Job]:
    queued = [job for job in jobs if job.state is JobState.QUEUED]
    return sorted(queued, key=serving_key)


def _lanes(state: RunState) -> Lanes:
    lanes: Lanes = {}
    for job in _in_order(state.jobs.values()):
        lanes.setdefault(job.resources, []).append(serving_key(job))
    return lanes


def _served(lanes: Lanes, refused: Container[Resources]) -> Iterator[str]:
    """Yield queued jobs in the order of serving; no further one of a lane that is refused by then."""
    kinds, queues = list(lanes), list(lanes.values())
    heads = [(queue[0], number, 0) for number, queue in enumerate(queues)]
    heapq.heapify(heads)
    while heads:
        key, number, place_in_lane = heads[0]
        if kinds[number] not in refused:
            yield key[2]
        if kinds[number] in refused or place_in_lane + 1 == len(queues[number]):
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (queues[number][place_in_lane + 1], number, place_in_lane + 1))


def _side_by_side(asked: Mapping[Resources, int], machine: Machine, max_parallel: int | None) -> int:
    """Return the most jobs of the run that may run at once, whatever has ended already: the same all through a run.

    Args:
        asked: How many jobs ask for what.
        machine: Where they run.
        max_parallel: The most that the user wants.
    """
    on_cpu = on_cards = parts = 0
    for wants, count in asked.items():
        if wants_card(wants, machine):
            on_cards += count
            parts = max(parts, parts_of(wants))
        else:
            on_cpu += count
    slots = min(on_cards, parts * len(machine.devices)) + min(on_cpu, machine.cpu_slots)
    return slots if max_parallel is None else min(slots, max_parallel)


def _never_fits(spec: JobSpec, idle: Machine) -> PlacementError:
    return PlacementError(spec.name, *_excess(spec.resources, idle), file=spec.source)


def _excess(wants: Resources, idle: Machine) -> tuple[str, str, str]:
    """Return what a job wants too much of, the most there is, and what to do."""
    if (wants.cpus or 0) > idle.cores:
        return f"{wants.cpus} cores", f"this machine has {idle.cores}", "lower resources.cpus"
    if (wants.memory_bytes or 0) > idle.memory_bytes:
        asked, total = format_size(wants.memory_bytes), format_size(idle.memory_bytes)
        return f"{asked} of host memory", f"this machine has {total}", "lower resources.memory"
    if not idle.devices:
        hint = "set resources.allow_cpu: true, or try --gpus sim:1x16GiB"
        return "a GPU (allow_cpu is false)", "this machine has none", hint
    return _excess_of_cards(wants, idle)


def _excess_of_cards(wants: Resources, idle: Machine) -> tuple[str, str, str]:
    count = card_count(wants)
    alive = [device for device in idle.devices if serves(device, wants)]
    if len(alive) < count:
        lost_count = sum(device.lost for device in idle.devices)
        lost = f" that works ({lost_count} lost)" if lost_count else ""
        if len(alive) + lost_count < len(idle.devices):
            lost += " (a process can use one MIG instance only)"
        return _gpus(count), f"this machine has {len(alive)}{lost}", "lower resources.gpus"
    sizes = sorted((device.memory_bytes for device in alive), reverse=True)
    asked = asked_bytes(wants, sizes[0])
    if asked is None:
        size = f"1/{parts_of(wants)} of a GPU"
        return size, f"the largest has {format_size(sizes[0])}", "lower resources.jobs_per_gpu"
    largest = f"the largest GPU has {format_size(sizes[0])}"
    if count > 1:
        largest = f"GPU number {count} by size has {format_size(sizes[count - 1])}"
    wanted = f"{format_size(asked)} on {'one GPU' if count == 1 else f'each of {count} GPUs'}"
    return wanted, largest, "lower resources.gpu_memory"


def _gpus(count: int) -> str:
    return f"{count} GPU" + "s" * (count > 1)
