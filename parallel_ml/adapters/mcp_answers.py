"""What the MCP tools answer: models with a schema, so that an assistant knows what it gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from parallel_ml.core.status import JobStatus, RunStatus
from parallel_ml.errors import ConfigProblem

MOST_JOBS = 100
_ENDED_WELL = frozenset({"completed", "stopped"})
Gone = Literal["running", "gone"]


class JobAnswer(BaseModel):
    """One job as it stands."""

    name: str
    state: str = Field(
        description="pending, starting, running, paused, retrying, stopping, completed, failed or stopped"
    )
    outcome: str | None = Field(description="how the newest attempt ended, such as success or error(1)")
    waiting: str | None = Field(description="why it does not run yet")
    attempt: int
    epoch: int | None
    epochs: int | None
    metrics: dict[str, Any] = Field(description="of the last epoch; of a completed job also the test's")
    allocation: dict[str, Any] | None = Field(description="the GPU share it has; memory_limit in MiB")
    batch_size: int | None
    accumulation: int | None
    seed: int | None
    started: str | None
    ended: str | None
    elapsed_s: float | None
    error: str | None
    failure: dict[str, Any] | None = Field(description="what a failure looks like, and what to do about it")
    recoveries: list[str] = Field(description="what was done when it ran out of memory")
    paths: dict[str, str | None]

    @classmethod
    def of(cls, job: JobStatus) -> JobAnswer:
        """Return what to tell of a job."""
        return cls.model_validate(job.to_dict())


class RunAnswer(BaseModel):
    """A run as it stands."""

    run: str = Field(description="the run's id, for the other tools")
    name: str
    dir: str
    state: str
    supervisor: Gone = Field(description="gone: nothing new starts until it is resumed")
    as_of: str | None
    created: str | None
    counts: dict[str, int] = Field(description="jobs by state")
    jobs: list[JobAnswer]
    jobs_left_out: int = Field(description="jobs that are counted and not listed here; ask for them by name")
    notes: list[str]
    undelivered: list[str] = Field(description="messages that did not arrive, and why")

    @classmethod
    def of(cls, status: RunStatus, job: str | None = None) -> RunAnswer:
        """Return what to tell of a run: one of its jobs, or the first of all, those that need a look before others."""
        wanted = [one for one in status.jobs if job in (None, one.name)]
        if len(wanted) > MOST_JOBS:
            wanted.sort(key=lambda one: (one.state in _ENDED_WELL, one.state == "pending"))
        return cls(
            run=status.run,
            name=status.name,
            dir=status.dir,
            state=status.state,
            supervisor=_supervisor(status),
            as_of=status.as_of,
            created=status.created,
            counts=Counter(one.state for one in status.jobs),
            jobs=[JobAnswer.of(one) for one in wanted[:MOST_JOBS]],
            jobs_left_out=len(wanted[MOST_JOBS:]),
            notes=list(status.notes),
            undelivered=list(status.undelivered),
        )


class RunLine(BaseModel):
    """A run in the list of runs."""

    run: str
    name: str
    dir: str
    state: str
    supervisor: Gone
    created: str | None
    as_of_age_s: float | None = Field(description="how long ago its last news was")
    counts: dict[str, int] = Field(description="jobs by state")
    notes: list[str]


class RunsAnswer(BaseModel):
    """The runs, newest first."""

    runs: list[RunLine]
    left_out: int = Field(description="older runs that are not listed")

    @classmethod
    def of(cls, found: Sequence[RunStatus], most: int) -> RunsAnswer:
        """Return what to tell of runs."""
        lines = [
            RunLine(
                run=one.run,
                name=one.name,
                dir=one.dir,
                state=one.state,
                supervisor=_supervisor(one),
                created=one.created,
                as_of_age_s=one.as_of_age_s,
                counts=Counter(job.state for job in one.jobs),
                notes=list(one.notes),
            )
            for one in found[:most]
        ]
        return cls(runs=lines, left_out=len(found[most:]))


class LogLine(BaseModel):
    """A line that a job printed, or that the supervisor has to say of it."""

    job: str
    timestamp: str | None
    type: str = Field(description="stdout, stderr, or system for what the supervisor says")
    message: str


class LogsAnswer(BaseModel):
    """The last lines of the jobs' logs, in the order of time."""

    run: str
    lines: list[LogLine]
    left_out: int = Field(description="earlier lines that are not here")


class Problem(BaseModel):
    """One thing that is wrong in a configuration."""

    file: str | None
    line: int | None
    key: str
    message: str
    hint: str

    @classmethod
    def of(cls, problem: ConfigProblem) -> Problem:
        """Return what to tell of a problem."""
        told = problem
        return cls(file=told.file, line=told.line, key=told.key, message=told.message, hint=told.hint)


class ConfigAnswer(BaseModel):
    """A configuration with which nothing is wrong."""

    file: str
    name: str = Field(description="the job's name")
    kind: str
    epochs: int | None
    batch_size: int | None
    accumulation: int
    seed: int
    depends_on: list[str]


class ValidationAnswer(BaseModel):
    """What a check of configurations found."""

    ok: bool
    configs: list[ConfigAnswer] = Field(description="empty where something is wrong")
    problems: list[Problem]
    warnings: list[str] = Field(description="allowed, and probably not meant")


def _supervisor(status: RunStatus) -> Gone:
    return "running" if status.supervisor == "running" else "gone"
