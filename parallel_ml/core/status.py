"""What a person or a program is told about a run: plain, typed, and with stable keys as JSON."""

from __future__ import annotations

from parallel_ml.records import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FINISHED = frozenset({"completed", "failed", "stopped"})
"""The states of runs and jobs to which nothing more happens by itself."""


class _Told:
    """Gives a dataclass the look of the dict that it is as JSON: `status["state"]` beside `status.state`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        raise NotImplementedError

    def __getitem__(self, key: str) -> Any:
        """Return one value of the JSON form."""
        return self.to_dict()[key]


@dataclass(frozen=True)
class JobStatus(_Told):
    """One job as it stands. Times are ISO 8601 in UTC, paths absolute; None is not known or not yet.

    Attributes:
        state: The word that users see: `pending`, `running`, `completed` ...
        outcome: Why the newest attempt ended: `success`, `error(1)`, `signal(9)` ...
        waiting: Why a pending or retrying job does not run yet, in a sentence; else None.
        metrics: The last epoch's metrics by name, and of a completed job the figures of its `result.json`.
        allocation: What the newest attempt holds or held (`Allocation.to_dict`).
        paths: `dir`, `config`, `log`, `metrics`, `model`, `result`; a file that is not there yet is named all the same.
        resources: What the newest attempt's processes took: `memory_peak_mb`, `gpu_memory_peak_mb`, `cpu_seconds`,
            `cpu_mean_percent` (of one core), `energy_wh` of its cards (None where that is not known) and whether it is
            `energy_estimated`; while it runs also `memory_mb`, `cpu_percent`, `processes`, `threads`,
            `gpu_memory_mb` and `gpu_utilization` of the last sample. Empty before the first.
        held: Whether it is paused in memory, with its GPU's memory, rather than saved and ended.
        pausing: Whether it was told to pause and has not yet; its `state` is `running` until then.
        failure: What the newest attempt's failure looks like: `class`, `words`, `evidence` (the line that shows it, or
            None), `advice`, `suspected`. None where it did not fail.
        recoveries: What was done when it ran out of memory, a sentence a step.
    """

    process_id: int
    name: str
    state: str
    outcome: str | None = None
    waiting: str | None = None
    attempt: int = 0
    pid: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    allocation: dict[str, Any] | None = None
    batch_size: int | None = None
    accumulation: int | None = None
    seed: int | None = None
    started: str | None = None
    ended: str | None = None
    paths: dict[str, str | None] = field(default_factory=dict)
    error: str | None = None
    elapsed_s: float | None = None
    resources: dict[str, Any] = field(default_factory=dict)
    held: bool = False
    pausing: bool = False
    failure: dict[str, Any] | None = None
    recoveries: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; the keys are those of the fields."""
        return {**vars(self), "recoveries": list(self.recoveries)}


@dataclass(frozen=True)
class RunStatus(_Told):
    """A run as it stands.

    Attributes:
        run: The run's id.
        dir: Its directory, absolute.
        as_of: When the newest thing in here was true (ISO 8601 in UTC).
        as_of_age_s: How long ago that was.
        supervisor: `running` or `gone`.
        notes: Lines that everybody should see, such as that there is no GPU.
        undelivered: Which messages did not arrive, and why, a line each; they wait for `notify flush`.
    """

    run: str
    name: str
    dir: str
    state: str
    as_of: str | None
    supervisor: str
    jobs: tuple[JobStatus, ...]
    as_of_age_s: float | None = None
    created: str | None = None
    notes: tuple[str, ...] = ()
    undelivered: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `status --json` prints."""
        told = dict(vars(self))
        told["jobs"] = [job.to_dict() for job in self.jobs]
        told["notes"] = list(self.notes)
        told["undelivered"] = list(self.undelivered)
        return told


@dataclass(frozen=True)
class JobResult(_Told):
    """What became of one configuration, in the order in which the configurations were given.

    Attributes:
        state: `completed`, `failed` or `stopped` (or where it was when the executor was left).
        outcome: Why its last attempt ended.
        metrics: The last epoch's metrics by name, and the figures of `result.json` (`test_accuracy` ...).
        history: Each metric's values, one an epoch: `{"epochs": [1, 2], "train_loss": [...], ...}`.
        paths: `dir`, `config`, `log`, `metrics`, `model`, `result`.
        resources: What its last attempt took: `memory_peak_mb`, `gpu_memory_peak_mb`, `cpu_seconds` ...
        failure: What its failure looks like, as in `JobStatus`, or None.
        recoveries: What was done when it ran out of memory, a sentence a step.
    """

    name: str
    state: str
    outcome: str | None
    metrics: dict[str, Any]
    history: dict[str, list[Any]]
    paths: dict[str, str | None]
    error: str | None
    resources: dict[str, Any] = field(default_factory=dict)
    failure: dict[str, Any] | None = None
    recoveries: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; the keys are those of the fields."""
        return {**vars(self), "recoveries": list(self.recoveries)}
