"""The progress of a run as plain lines, one for each event: for files, pipes and terminals that cannot do more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parallel_ml.adapters.cli.cells import device, named_metrics, why
from parallel_ml.adapters.cli.text import number, safe
from parallel_ml.core.units import format_duration

if TYPE_CHECKING:
    from parallel_ml.monitor.process_monitor import MonitorEvent


def event_line(event: MonitorEvent) -> str | None:
    """Return what happened as a line; None where it is not worth one."""
    kind, job = str(event.kind), safe(event.job or "")
    if kind == "run_started":
        return f"run {safe(str(event.data['run']))} in {safe(str(event.data['dir']))}"
    if kind == "note":
        return f"{f'{job}: ' if job else ''}note: {safe(str(event.data['text']))}"
    if kind == "alert":
        news = "" if event.data["news"] == "firing" else f" ({str(event.data['news']).replace('_', ' ')})"
        return f"{job}: alert {safe(str(event.data['alert']))}{news}: {safe(str(event.data['text']))}"
    if kind == "out_of_memory":
        return f"{job}: out of memory: {safe(str(event.data['text']))}"
    if kind == "epoch":
        return f"{job}: {epoch_text(event.data)}"
    if kind == "job_state":
        return f"{job}: {state_text(event.data)}"
    return None


def epoch_text(point: Mapping[str, Any]) -> str:
    """Return an epoch's figures: `epoch 2/4 loss 0.12 accuracy 0.97 (1.2s)`."""
    epochs = point.get("epochs")
    count = number(point.get("epoch")) + (f"/{number(epochs)}" if epochs else "")
    seconds = point.get("time_per_epoch")
    time = f"({format_duration(seconds)})" if isinstance(seconds, (int, float)) else ""
    figures = [f"{name} {value}" for name, value in named_metrics(dict(point))]
    return " ".join(part for part in ("epoch", count, *figures, time) if part)


def state_text(news: Mapping[str, Any]) -> str:
    """Return a job's new state with what belongs to it."""
    state, attempt = safe(str(news["state"])), news.get("attempt")
    if state == "starting":
        batch, accumulation = news.get("batch_size"), news.get("accumulation")
        parts = [f"starting on {device(news.get('allocation')) or 'this machine'}"]
        if batch is not None:
            parts.append(f"batch {batch}" + (f" x {accumulation}" if accumulation and accumulation > 1 else ""))
        if attempt and attempt > 1:
            parts.append(f"attempt {attempt}")
        return ", ".join(parts)
    if state in {"failed", "retrying"}:
        reason = why(news.get("outcome"), news.get("error"))
        return f"{state}: {reason}" if reason else state
    if state == "running" and news.get("pid"):
        return f"running, process {news['pid']}"
    return "completed, early stopped" if news.get("outcome") == "early_stopped" else state
