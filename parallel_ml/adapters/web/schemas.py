"""The shapes of what is asked and answered, with units, as the OpenAPI description tells them.

Answers are not validated against them while serving: a run may have ten thousand jobs. The tests do that.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from parallel_ml.adapters.web.runs import JOB_NAME

State = Literal[
    "pending", "starting", "running", "paused", "retrying", "stopping", "completed", "failed", "stopped", "unreadable"
]
Time = Annotated[str | None, Field(description="ISO 8601 in UTC; null is not known, or not yet")]


def _number(value: Any) -> Any:
    if isinstance(value, (str, bytes, bool)):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic wants ValueError
    return value


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004
    return value


NotText = BeforeValidator(_number)
"""A number, and no text of one. It stands last, else the limits before it are not in the description."""
Flag = Annotated[bool, BeforeValidator(_flag)]


class Asked(BaseModel):
    """A body: known keys alone."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), hide_input_in_errors=True)


class Told(BaseModel):
    """An answer; further keys may follow."""

    model_config = ConfigDict(protected_namespaces=())


class ProblemDetails(Told):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="A URN that names the kind of problem")
    title: str
    status: int
    detail: str = Field(description="What went wrong, in a sentence")
    hint: str = Field("", description="What to do about it")
    errors: list[dict[str, Any]] = Field([], description="One by one: key, message, and of a file also file and line")


class RunBrief(Told):
    """A run in a line."""

    run: str = Field(description="The run's id; ids sort by time")
    name: str
    dir: str = Field(description="The run's folder, absolute")
    state: State
    supervisor: Literal["running", "gone"]
    created: Time = None
    as_of: Time = None
    as_of_age_s: float | None = Field(None, description="How old the news is, in seconds")
    jobs: int = Field(description="How many jobs it has")
    states: dict[str, int] = Field(description="How many of them are in each state")


class RunList(Told):
    """Runs, newest first."""

    runs: list[RunBrief]
    total: int = Field(description="How many there are in all")


class Allocation(Told):
    """What an attempt holds of the machine."""

    gpu_index: int | None = None
    gpu_uuid: str | None = None
    memory_limit: int | None = Field(None, description="MB (MiB); null on the CPU")
    memory_fraction: float | None = Field(None, description="Of the whole card, in (0, 1]")
    process_id: int = Field(description="The job's position in the run, 0 the first")


class Job(Told):
    """A job as it stands."""

    process_id: int = Field(description="Its position in the run, 0 the first")
    name: str
    state: State
    outcome: str | None = Field(None, description="How the newest attempt ended: success, error(1), signal(9) ...")
    waiting: str | None = Field(None, description="Why it does not run yet")
    attempt: int = Field(description="The number of the newest attempt, 0 before the first")
    pid: int | None = None
    epoch: int | None = Field(None, description="The last that is done, 1 the first")
    epochs: int | None = None
    metrics: dict[str, Any] = Field(
        description="Of the last epoch: losses, accuracies in [0, 1], learning_rate, time_per_epoch in seconds, "
        "memory_usage in MB, gpu_utilization in percent; null is not known, or not finite"
    )
    allocation: Allocation | None = None
    batch_size: int | None = Field(None, description="Samples of a step; times accumulation those of an update")
    accumulation: int | None = None
    seed: int | None = None
    started: Time = None
    ended: Time = None
    paths: dict[str, str | None] = Field(description="Files of the server's machine, absolute")
    error: str | None = None
    elapsed_s: float | None = Field(None, description="Seconds that the newest attempt has run")
    resources: dict[str, Any] = Field(
        description="What its processes took: memory_mb, memory_peak_mb, gpu_memory_mb, gpu_memory_peak_mb (MB), "
        "cpu_percent (of one core), gpu_utilization (percent), cpu_seconds, energy_wh"
    )
    held: bool = Field(description="Whether it is paused in memory, with its GPU's memory")
    pausing: bool = Field(description="Whether it was told to pause and runs still")
    failure: dict[str, Any] | None = None
    recoveries: list[str] = Field(description="What was done when it ran out of memory")


class Run(Told):
    """A run as it stands: the object of `status --json`, and how many jobs there are."""

    run: str
    name: str
    dir: str
    state: State
    supervisor: Literal["running", "gone"]
    as_of: Time = None
    as_of_age_s: float | None = None
    created: Time = None
    jobs: list[Job]
    notes: list[str]
    undelivered: list[str]
    total: int = Field(description="How many jobs fit the query, those that are not shown included")
    states: dict[str, int] = Field(description="How many of all jobs are in each state")


class StartRun(Asked):
    """Which configurations to train, by their paths under the root; nothing of them can be said here."""

    configs: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        min_length=1, max_length=1000, description="Files, folders or globs, relative to the server's root"
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] | None = Field(None, description="A name for it")
    max_parallel: Annotated[int, Field(ge=1, le=100_000), NotText] | None = Field(
        None, description="The most jobs at once"
    )
    gpus: Annotated[str, Field(pattern=r"^(auto|none|sim:[0-9A-Za-z.,]{1,100})$")] | None = Field(
        None, description="auto, none, or such as sim:2x16GiB"
    )


class OrderAsked(Asked):
    """Which job is meant; without one all are."""

    job: Annotated[str, Field(pattern=JOB_NAME)] | None = None


class StopAsked(OrderAsked):
    """Which job is to stop, and how."""

    now: Flag = Field(default=False, description="Kill it at once instead of asking first")


class PauseAsked(OrderAsked):
    """Which job is to pause, and how."""

    freeze: Flag = Field(default=False, description="Hold it in memory; its GPU memory stays taken")


class OrderTaken(Told):
    """What became of a request."""

    run: str
    job: str | None
    order: str | None = Field(None, description="Its id; null where the run was just taken over")
    state: Literal["done", "waiting"] = Field(description="waiting: it is kept until the supervisor takes it")


class Progress(Told):
    """How a task stands."""

    task_id: str
    run: str
    job: str
    state: State
    epoch: int | None = None
    epochs: int | None = None
    metrics: dict[str, Any]
    waiting: str | None = None
    pausing: bool
    error: str | None = None
    elapsed_s: float | None = None


class TaskTaken(Told):
    """A task that was accepted."""

    task_id: str = Field(description="One segment of a URL")
    run: str
    job: str


class LogPiece(Told):
    """Lines of a job's log."""

    lines: list[dict[str, Any]] = Field(description="As in log.jsonl: timestamp, process_id, pid, message, type ...")
    next: str = Field(description="Give it as `after` for the lines that follow")
    more: bool = Field(description="Whether there are further lines already")


class Points(Told):
    """What was measured, one entry an epoch or a sample."""

    points: list[dict[str, Any]]
    total: int


class Artifact(Told):
    """A file of a job."""

    path: str
    bytes: int
    modified: str


class Artifacts(Told):
    """The files of a job."""

    artifacts: list[Artifact]


class Allocations(Told):
    """What the jobs of a run hold now."""

    allocations: list[dict[str, Any]]


class Differences(Told):
    """The keys in which the configurations of jobs differ."""

    jobs: list[str]
    keys: list[dict[str, Any]] = Field(description="key, and values: one a job, as short text")


class Alerts(Told):
    """How the alert rules of a job stand."""

    alerts: dict[str, Any]


class RunAlerts(Told):
    """The alerts of a run that fire or have fired."""

    alerts: list[dict[str, Any]] = Field(description="job, rule, status, expr, episode: how many times it has fired")
