"""A job's status as the cells of a table: shared by `status`, the live display and the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from parallel_ml.adapters.cli.table import Column, Note
from parallel_ml.adapters.cli.text import ago, number, safe
from parallel_ml.core.comparison import finite
from parallel_ml.core.status import FINISHED, JobStatus, RunStatus
from parallel_ml.core.units import MIB, format_duration, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WORDS = ("starting", "running", "paused", "stopping", "retrying", "pending", "completed", "stopped", "failed")
"""The states in the order in which they are counted."""
_AS_SHOWN = {"train_loss": "loss", "train_accuracy": "accuracy"}
_NOT_TOLD = frozenset(
    {"learning_rate", "time_per_epoch", "memory_usage", "gpu_utilization", "epoch", "epochs", "nonfinite", "source"}
)
_WATCHED = {"val_accuracy": "val acc", "train_accuracy": "accuracy", "val_loss": "val loss"}
_OWN_COLUMN = frozenset({"loss", "val_accuracy"})


def job_columns(jobs: Sequence[JobStatus], *, best: str | None = None) -> list[Column]:
    """Return the table of the jobs; `job_notes` has what stands at the end of its rows.

    Args:
        jobs: A row each.
        best: The name of the job that is marked.
    """
    watched, title = watched_metric(jobs)
    return [
        Column("job", marked([job.name for job in jobs], best), floor=10),
        Column("state", [job.state for job in jobs]),
        Column("device", [device(job.allocation) for job in jobs], rank=5),
        Column("epoch", [epochs(job) for job in jobs], right=True, rank=1),
        Column("left", [time_left(job) for job in jobs], right=True, rank=7),
        Column("loss", [metric(job, "train_loss") for job in jobs], right=True, rank=3),
        Column(title, [metric(job, watched) for job in jobs], right=True, rank=2),
        Column("test acc", [metric(job, "test_accuracy") for job in jobs], right=True, rank=4),
        Column("memory", [memory(job, "memory") for job in jobs], right=True, rank=9),
        Column("GPU mem", [memory(job, "gpu_memory") for job in jobs], right=True, rank=8),
        Column("time", [elapsed(job) for job in jobs], right=True, rank=6),
    ]


def watched_metric(jobs: Iterable[JobStatus]) -> tuple[str, str]:
    """Return the metric by which people tell how well a run's jobs learn, and its title.

    It is the validation accuracy, or what comes next to it in a run where no job tells that.
    """
    told = {name for job in jobs for name, value in job.metrics.items() if value is not None}
    return next(((name, title) for name, title in _WATCHED.items() if name in told), ("val_accuracy", "val acc"))


def job_notes(jobs: Iterable[JobStatus]) -> list[Note]:
    """Return what stands at the end of each job's row: a reason or an error in any case, all else where it fits."""
    quiet = {"running", "completed"}
    return [_note(remark(job) or own_metrics(job), needed=job.state not in quiet) for job in jobs]


@lru_cache(maxsize=256)
def _note(text: str, *, needed: bool) -> Note:
    """Return a note; of thousands of jobs most have the same one."""
    return Note(text, needed)


def marked(names: Iterable[str], best: str | None) -> list[str]:
    """Return jobs' names as safe text, the best one marked."""
    return [f"{safe(name)} *" if name == best else safe(name) for name in names]


def device(allocation: dict[str, Any] | None) -> str:
    """Return where a job runs or ran, and its share.

    >>> device({"device": "gpu", "gpu_index": 0, "memory_limit": 8192}), device({"device": "cpu"}), device(None)
    ('GPU 0 8GiB', 'CPU', '')
    """
    if allocation is None:
        return ""
    if allocation.get("gpu_index") is None:
        return "CPU"
    cards = [card["gpu_index"] for card in allocation.get("gpus", [allocation])]
    limit = allocation.get("memory_limit")
    share = f" {format_size(limit * MIB)}" if isinstance(limit, int) else ""
    return f"GPU {','.join(map(str, cards))}{share}"


def epochs(job: JobStatus) -> str:
    """Return `2/4`, or what is known of it."""
    if job.state == "pending" and job.epoch is None:
        return ""
    # What is read from the output of a program may count from 0: then 3 is the last of 4.
    is_read = job.state == "completed" and job.metrics.get("source") == "output"
    if job.epochs is None or (is_read and job.epochs == (job.epoch or 0) + 1):
        return number(job.epoch)
    return f"{number(job.epoch or 0)}/{number(job.epochs)}"


def time_left(job: JobStatus) -> str:
    """Return an estimate from the pace of the last epoch, else of all; "" where there is none."""
    done, total, pace = job.epoch, job.epochs, job.metrics.get("time_per_epoch")
    if job.state != "running" or not done or not total or done >= total:
        return ""
    if not isinstance(pace, (int, float)):
        if job.elapsed_s is None:
            return ""
        pace = job.elapsed_s / done
    return format_duration((total - done) * pace)


def elapsed(job: JobStatus) -> str:
    """Return how long the newest attempt has run."""
    return "" if job.elapsed_s is None else format_duration(job.elapsed_s)


def memory(job: JobStatus, which: str) -> str:
    """Return the memory that a job's processes have, or had at most where it has ended; "" where it is not known.

    Args:
        job: The job.
        which: `memory`, or `gpu_memory` for that of its cards.
    """
    if not job.resources:
        return ""
    found = finite(job.resources.get(f"{which}_mb"))
    return memory_peak(job, which) if found is None else _size(found)


def memory_peak(job: JobStatus, which: str = "memory") -> str:
    """Return the most memory that the job's processes had at once; "" where it is not known."""
    peak = finite(job.resources.get(f"{which}_peak_mb"))
    return "" if peak is None else _size(peak)


def _size(mebibytes: float) -> str:
    return format_size(round(mebibytes) * MIB)


def remark(job: JobStatus) -> str:
    """Return what else is to be said of a job: why it waits, what went wrong."""
    if job.state in {"failed", "retrying"}:
        return "; ".join(part for part in (job.waiting and safe(job.waiting), why(job.outcome, job.error)) if part)
    if job.waiting:
        return safe(job.waiting)
    if job.state == "paused":
        return "held in memory" if job.held else ""
    return "early stopped" if job.outcome == "early_stopped" else ""


def own_metrics(job: JobStatus) -> str:
    """Return the metrics of a running job that have no column."""
    if job.state != "running":
        return ""
    return ", ".join(f"{name} {value}" for name, value in named_metrics(job.metrics) if name not in _OWN_COLUMN)


def why(outcome: str | None, error: str | None) -> str:
    """Return an end in words: the outcome, and the error unless it says no more.

    >>> why("error(1)", "ValueError: no"), why("timeout", None), why(None, None)
    ('error(1): ValueError: no', 'timeout', '')
    """
    return ": ".join(safe(part) for part in (outcome, error) if part)


def metric(job: JobStatus, name: str, form: Callable[[Any], str] = number) -> str:
    """Return the last epoch's value of a metric, `nan` and `inf` among them; "" where there is none."""
    told = job.metrics
    return form((_with_nonfinite(told) if "nonfinite" in told else told).get(name))


def figure(value: Any) -> str:
    """Return a value with as many digits however round it is, so that it stands still while it changes.

    >>> figure(0.5), figure(12.3456), figure(1.5e-05), figure("nan")
    ('0.5000', '12.346', '1.5e-05', 'nan')
    """
    if finite(value) is None or isinstance(value, bool):
        return number(value)
    size = abs(value)
    if size and (size < 0.001 or size >= 99999.5):
        return f"{value:.1e}"
    return f"{value:.{max(0, 4 - max(0, len(str(int(size))) - 1))}f}"


def named_metrics(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the metrics that people look at with their values, `nan` and `inf` among them."""
    return [
        (safe(_AS_SHOWN.get(name, name)), number(value))
        for name, value in _with_nonfinite(metrics).items()
        if name not in _NOT_TOLD and number(value)
    ]


def _with_nonfinite(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics with the words for what is not finite in its place."""
    nonfinite = metrics.get("nonfinite")
    return {**metrics, **nonfinite} if isinstance(nonfinite, dict) else metrics


def counts(jobs: Iterable[JobStatus]) -> str:
    """Return how many jobs are in which state: `1 running, 2 pending`."""
    found = Counter(job.state for job in jobs)
    order = [*(word for word in WORDS if word in found), *(word for word in found if word not in WORDS)]
    return ", ".join(f"{found[word]} {word}" for word in order)


def heading(status: RunStatus) -> str:
    """Return the run's id, name and state in a line."""
    name = f" ({safe(status.name)})" if status.name else ""
    return f"run {safe(status.run)}{name}: {counts(status.jobs) or status.state}"


def staleness(status: RunStatus) -> str | None:
    """Return a line where the status may be old: nobody drives the run, and it is not finished."""
    if status.supervisor == "running" or status.state in FINISHED:
        return None
    return f"as of {ago(status.as_of_age_s)}; supervisor not running"
