"""The nouns: run, job, attempt, device, allocation, outcome. Frozen data only; how it changes is in `state.py`.

A run is one `run` command. A job is one configuration of it. An attempt is one try of a job: an allocation, a resolved
configuration, one process tree, one outcome. A state says where a job is, an outcome says why an attempt ended.
"""

from __future__ import annotations

from parallel_ml.core.adjustments import AS_ASKED, Adjustment, RateCut
from parallel_ml.core.outcome import Diagnosis, Outcome, OutcomeKind, StrEnum
from parallel_ml.core.units import MIB
from parallel_ml.records import dataclass, field, replace


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    RETRYING = "retrying"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to the job unless somebody asks for it."""
        return self in _FINISHED

    @property
    def word(self) -> str:
        """The word that users see."""
        return _WORDS.get(self, self.value)


_FINISHED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.STOPPED})
_WORDS = {JobState.QUEUED: "pending", JobState.SUCCEEDED: "completed", JobState.PAUSING: "running"}


@dataclass(frozen=True)
class ProcessId:
    """A process for good: a process number alone is used again by the system.

    Attributes:
        host: The host's name.
        boot_id: The kernel's random id of this boot; "" where the system has none.
        pid: The process number.
        start_ticks: Clock ticks between boot and the process's start (field 22 of /proc/PID/stat, see proc(5)).
        namespace: Among which processes the number counts (pid_namespaces(7)); "" where that is not known.
    """

    host: str
    boot_id: str
    pid: int
    start_ticks: int
    namespace: str = ""


@dataclass(frozen=True)
class Device:
    """One GPU as it is seen now.

    Attributes:
        index: Its place in PCI bus order.
        uuid: `GPU-...`, `MIG-...` or `SIM-...`; the name that survives a reboot.
        name: The maker's name of it.
        memory_bytes: All of its memory that programs can have.
        foreign_bytes: What is held by neither this run nor a run that leased it.
        lost: It fell off the bus or needs a reset: nothing may be placed on it.
        leased_bytes: What other runs on this machine were granted, or hold, where that is more.
        leased_slots: How much of its room for jobs other runs have, from 0.0 to 1.0.
        leased_to: The ids of those runs.
        unattributed_bytes: What is in use, beside `foreign_bytes`, where it cannot be measured whose it is: it may be
            what this run or a lease was granted, and is taken in any case.
        trouble: With `lost`: what is wrong with it, to be read after "GPU 0"; "" where that is not known.
    """

    index: int
    uuid: str
    name: str
    memory_bytes: int
    foreign_bytes: int = 0
    lost: bool = False
    leased_bytes: int = 0
    leased_slots: float = 0.0
    leased_to: tuple[str, ...] = ()
    unattributed_bytes: int = 0
    trouble: str = ""

    @property
    def divisible_bytes(self) -> int:
        """What is divided among the jobs of all runs: everything that no program outside of them holds."""
        return 0 if self.lost else max(0, self.memory_bytes - self.foreign_bytes)

    @property
    def usable_bytes(self) -> int:
        """What this run may hand out in all: everything that no other program holds and no other run leased."""
        return max(0, self.divisible_bytes - self.leased_bytes)

    def left_bytes(self, granted_bytes: int) -> int:
        """Return what may still be granted beside `granted_bytes`; below 0 where other programs came later."""
        taken = max(granted_bytes + self.leased_bytes, self.unattributed_bytes)
        return self.divisible_bytes - taken


@dataclass(frozen=True)
class Machine:
    """What jobs are placed on: the cards and the host's own resources."""

    devices: tuple[Device, ...]
    cores: int
    memory_bytes: int

    @property
    def cpu_slots(self) -> int:
        """How many jobs run at once on the CPU: one for each 2 cores, at least 2."""
        return max(2, self.cores // 2)


@dataclass(frozen=True)
class GpuShare:
    """A part of one card that an attempt holds.

    Attributes:
        gpu_index: The card's place in PCI bus order.
        gpu_uuid: The card.
        memory_bytes: The grant.
        memory_fraction: The grant as a fraction of the whole card, in (0, 1].
        slot_fraction: How much of the card's room for jobs it takes: 1 / jobs_per_gpu, or 1 when exclusive.
    """

    gpu_index: int
    gpu_uuid: str
    memory_bytes: int
    memory_fraction: float
    slot_fraction: float

    @property
    def memory_limit_mb(self) -> int:
        """The grant in MiB, rounded down."""
        return self.memory_bytes // MIB


@dataclass(frozen=True)
class Allocation:
    """What one attempt holds. No shares means the CPU.

    Attributes:
        process_id: The configuration's position in the run.
        shares: The cards, the first one first.
        cpus: The cores that the attempt's threads are set to; None leaves the framework's default.
        memory_bytes: Host memory that the user asked for, or None.
    """

    process_id: int
    shares: tuple[GpuShare, ...] = ()
    cpus: int | None = None
    memory_bytes: int | None = None

    @property
    def memory_limit_mb(self) -> int | None:
        """The smallest grant among the cards in MiB; None on the CPU."""
        return min((share.memory_limit_mb for share in self.shares), default=None)

    def to_dict(self) -> dict[str, object]:
        """Return the form that users read: `gpu_index`, `gpu_uuid`, `memory_limit` (MiB), `memory_fraction` ..."""
        first = self.shares[0] if self.shares else None
        told: dict[str, object] = {
            "device": "gpu" if first else "cpu",
            "gpu_index": first.gpu_index if first else None,
            "gpu_uuid": first.gpu_uuid if first else None,
            "memory_limit": self.memory_limit_mb,
            "memory_fraction": round(first.memory_fraction, 4) if first else None,
            "process_id": self.process_id,
            "cpus": self.cpus,
        }
        if len(self.shares) > 1:
            told["gpus"] = [
                {
                    "gpu_index": share.gpu_index,
                    "gpu_uuid": share.gpu_uuid,
                    "memory_limit": share.memory_limit_mb,
                    "memory_fraction": round(share.memory_fraction, 4),
                }
                for share in self.shares
            ]
        return told


@dataclass(frozen=True)
class Resources:
    """What a job asks for.

    Attributes:
        gpus: Whole number of cards; None is the default: 1 where there is a card, else the CPU. 0 is the CPU.
        jobs_per_gpu: How many jobs of this kind share a card.
        gpu_memory_bytes: A fixed grant on each card, or None.
        gpu_memory_fraction: A grant as a fraction of the whole card in (0, 1], or None.
        exclusive: The whole card, shared with no other job of ours.
        cpus: Cores, or None for an equal share.
        memory_bytes: Host memory, or None for not said.
        allow_cpu: Whether the job may run on the CPU where it cannot have a card.
        min_batch_size: The smallest batch that running out of memory may lead to.
    """

    gpus: int | None = None
    jobs_per_gpu: int = 2
    gpu_memory_bytes: int | None = None
    gpu_memory_fraction: float | None = None
    exclusive: bool = False
    cpus: int | None = None
    memory_bytes: int | None = None
    allow_cpu: bool = True
    min_batch_size: int = 1


@dataclass(frozen=True)
class JobSpec:
    """What a job is; written once when the run is made.

    Attributes:
        position: 0-based place of its configuration in the run.
        name: Unique in the run.
        source: The user's file as it was named.
        kind: `training` (the built-in one) or `command` (the user's own program).
        seed: The seed of this position.
        batch_size: Samples that the user asked for; None for an own program without one.
        accumulation: Gradient accumulation that the user asked for.
        epochs: Epochs asked for, or None.
        max_attempts: Attempts that may fail before the job does.
        backoff_s: Wait before the first retry; doubled for each further one.
        timeout_s: An attempt's longest time, or None.
        grace_s: Seconds between asking the process tree to stop and killing it.
        model_path: Where the best model will be, or None for an own program.
        log_max_bytes: The most that its log may take on the disk, or None.
    """

    position: int
    name: str
    source: str
    kind: str
    seed: int
    resources: Resources = Resources()
    batch_size: int | None = None
    accumulation: int = 1
    epochs: int | None = None
    priority: int = 0
    depends_on: tuple[str, ...] = ()
    max_attempts: int = 1
    backoff_s: float = 10.0
    timeout_s: float | None = None
    grace_s: float = 10.0
    model_path: str | None = None
    log_max_bytes: int | None = None


@dataclass(frozen=True)
class Attempt:
    """One try of a job. Times are seconds since the epoch; None is not yet or not known.

    Attributes:
        held_s: Seconds that it was held in memory; they do not count against a time limit.
        diagnosis: What its failure looks like, or None.
        thawed_at: When it went on last after it was held.
    """

    number: int
    allocation: Allocation
    batch_size: int | None
    accumulation: int
    placed_at: float
    started_at: float | None = None
    ended_at: float | None = None
    process: ProcessId | None = None
    shim: ProcessId | None = None
    outcome: Outcome | None = None
    error: str | None = None
    held_s: float = 0.0
    diagnosis: Diagnosis | None = None
    evaluation_batch_size: int | None = None
    thawed_at: float | None = None


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    Attributes:
        frozen: With PAUSED: held in memory by SIGSTOP since `held_since`, rather than released.
        stop_cause: With STOPPING: what the attempt will have ended of (`stopped`, `timeout`).
        stop_reason: With STOPPING: more about that, in a sentence, or None.
        due_at: With RETRYING: when it is queued again. With STOPPING and PAUSING: when it is killed.
        resume_wanted: With PAUSING: a resume arrived already.
        failures: Attempts that failed, out of `spec.max_attempts`.
        losses: Attempts that vanished without a record.
        error: Why it failed, in a sentence.
        adjustment: What running out of memory has changed.
        recoveries: What was done about it, a sentence a step.
        rate_cuts: What was ordered for its learning rate.
        fresh_starts: How often somebody had it tried again with its whole budget.
        alert_orders: The ids of what alerts ordered since then, and was obeyed.
    """

    spec: JobSpec
    state: JobState = JobState.QUEUED
    attempts: tuple[Attempt, ...] = ()
    frozen: bool = False
    stop_cause: OutcomeKind | None = None
    stop_reason: str | None = None
    due_at: float | None = None
    resume_wanted: bool = False
    failures: int = 0
    losses: int = 0
    finished_at: float | None = None
    error: str | None = None
    adjustment: Adjustment = AS_ASKED
    recoveries: tuple[str, ...] = ()
    held_since: float | None = None
    rate_cuts: tuple[RateCut, ...] = ()
    fresh_starts: int = 0
    alert_orders: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The job's name, unique in the run."""
        return self.spec.name

    @property
    def resources(self) -> Resources:
        """What its next attempt asks for."""
        changed, wants = self.adjustment, self.spec.resources
        if changed.on_cpu:
            return replace(wants, gpus=0)
        if changed.gpu_memory_bytes is not None:
            return replace(wants, gpu_memory_bytes=changed.gpu_memory_bytes)
        return wants

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def holds(self) -> Allocation | None:
        """What it holds now: the newest attempt's allocation for as long as that attempt lives."""
        last = self.attempt
        return last.allocation if last is not None and last.ended_at is None else None


@dataclass
class RunState:
    """All that the events of a run add up to. Changed by `state.fold` alone.

    Attributes:
        seq: The number of the last event that is in here.
        as_of: That event's time.
        supervisor: Who drives the run, or last drove it.
        boot_id: Which boot of a machine `booted_at` is about.
        booted_at: When that was, by the clock that the times in here are of; None where it is not known.
        machine: What the jobs are placed on, as last seen.
        orders_done: The ids of the orders that were carried out or refused.
    """

    run_id: str = ""
    name: str = ""
    created_at: float = 0.0
    seq: int = 0
    as_of: float = 0.0
    max_parallel: int | None = None
    supervisor: ProcessId | None = None
    boot_id: str = ""
    booted_at: float | None = None
    machine: Machine = Machine((), 1, 0)
    jobs: dict[str, Job] = field(default_factory=dict)
    orders_done: set[str] = field(default_factory=set)

    @property
    def finished(self) -> bool:
        """Whether every job has finished."""
        return all(job.state.finished for job in self.jobs.values())

    @property
    def word(self) -> str:
        """The state of the run in the words that users see for jobs; derived, never stored."""
        return word_of({job.state for job in self.jobs.values()})


def word_of(states: set[JobState]) -> str:
    """Return the state of a run whose jobs are in these states, in the words that users see for jobs."""
    if states <= _FINISHED:
        if JobState.FAILED in states:
            return "failed"
        return "stopped" if JobState.STOPPED in states else "completed"
    if states <= {JobState.PAUSED, *_FINISHED}:
        return "paused"
    return "pending" if states == {JobState.QUEUED} else "running"
