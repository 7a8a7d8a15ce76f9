"""What a report knows of runs and their jobs, as plain frozen data; `gather` reads it from the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parallel_ml.core.comparison import Measure
from parallel_ml.core.differences import Rows
from parallel_ml.core.model import Attempt
from parallel_ml.core.status import JobResult, JobStatus, RunStatus
from parallel_ml.store.layout import RunLayout


@dataclass(frozen=True)
class AlertFacts:
    """An alert rule of a job that has fired.

    Attributes:
        status: `firing`, `pending` or `inactive`.
        times: How often it has fired.
        last_at: When its condition was last true, in seconds since the epoch.
        last_epoch: The epoch of then.
    """

    rule: str
    expr: str
    status: str
    times: int
    last_at: float
    last_epoch: int


@dataclass(frozen=True)
class JobFacts:
    """One job.

    Attributes:
        label: Unique in the report: the job's name, with its run's before it where there are several.
        run: The place of its run among those of the report.
        best: The best value of the report's measure over its epochs, and the epoch that had it; None where it told
            none.
        epoch_s: What an epoch took on average, in seconds.
        checkpoint: Where its model is, or else its newest saved state; None where there is neither.
        analysis: Its whole `result.json`; {} where it was not read.
        story: What happened to it beside starts and ends: (seconds since the epoch, a sentence).
    """

    label: str
    run: int
    status: JobStatus
    result: JobResult
    attempts: Sequence[Attempt] = ()
    alerts: Sequence[AlertFacts] = ()
    best: tuple[float, int | None] | None = None
    epoch_s: float | None = None
    checkpoint: str | None = None
    analysis: Mapping[str, Any] = field(default_factory=dict)
    story: Sequence[tuple[float, str]] = ()
    last_lines: Sequence[str] = ()

    @property
    def tested(self) -> float | None:
        """Its test accuracy."""
        value = self.result.metrics.get("test_accuracy")
        return value if isinstance(value, (int, float)) else None


@dataclass(frozen=True)
class RunFacts:
    """One run.

    Attributes:
        title: Its name, or its id where it has none.
        plan: Its `run.json`.
        began: When it was made, in seconds since the epoch.
        took_s: From then to the end of its last job; None while it goes on.
        winner: The label of its best job, None where nothing can be compared.
    """

    title: str
    layout: RunLayout
    status: RunStatus
    plan: Mapping[str, Any]
    began: float
    took_s: float | None = None
    winner: str | None = None


@dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Attributes:
        jobs: The best first, those that told nothing last.
        measure: By what their epochs are compared.
        winner: The label of the best job, and on what it is the best; None where nothing can be compared.
        drawn: The labels of the jobs that have a colour, in its order.
        compared: The labels of the jobs whose configurations were compared, in the order of `differing`'s values.
        left_out: Runs that could not be read, and why.
        made: When, in seconds since the epoch.
    """

    runs: Sequence[RunFacts]
    jobs: Sequence[JobFacts]
    measure: Measure
    winner: tuple[str, str] | None
    drawn: Sequence[str]
    compared: Sequence[str]
    differing: Rows
    made: float
    left_out: Sequence[str] = ()

    @property
    def several(self) -> bool:
        """Whether it compares runs."""
        return len(self.runs) > 1

    @property
    def coloured(self) -> list[JobFacts]:
        """The jobs that have a colour, in its order."""
        by_label = {job.label: job for job in self.jobs}
        return [by_label[label] for label in self.drawn]
