"""The message that a monitor sends when a training is over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from parallel_ml.notify.message import Block, Excerpt, Facts, Kind, Level, Links, Message, Text
from parallel_ml.notify.settings import NotificationSettings
from parallel_ml.notify.templates import fill
from parallel_ml.notify.words import known, word
from parallel_ml.training_monitor.figures import FIGURES
from parallel_ml.training_monitor.labels import duration_text, label, memory_text, value_text
from parallel_ml.training_monitor.session import in_language

_KINDS = {
    "completed": (Kind.FINISHED, Level.INFO),
    "failed": (Kind.FAILED, Level.CRITICAL),
    "interrupted": (Kind.INTERRUPTED, Level.WARNING),
}


def end_message(metrics: Mapping[str, Any], settings: NotificationSettings, *, key: str, created: float) -> Message:
    """Return what is told of a training that is over.

    Args:
        metrics: As `TrainingMonitor.metrics` has them at the end.
        settings: Its language, links and templates.
        key: Names this training among all.
        created: Now, in seconds since the epoch.
    """
    kind, level = _KINDS[metrics["status"]]
    name, language = str(metrics["model_name"]), settings.language
    if metrics.get("failure"):
        metrics = {**metrics, "failure": {**metrics["failure"], **in_language(metrics["failure"], language)}}
    rows, links = _rows(metrics, language), _links(settings, name)
    lines = tuple((metrics.get("failure") or {}).get("lines") or ())
    blocks: list[Block] = [Facts(tuple(rows))]
    blocks += [links] if links.rows else []
    blocks += [Excerpt(label("traceback", language), lines)] if lines else []
    message = Message(
        id=f"{key}/{metrics['status']}",
        kind=kind,
        level=level,
        title=_title(metrics, kind, language),
        blocks=tuple(blocks),
        created=created,
        job=name,
        data={**_for_programs(metrics), "language": language},
    )
    template = settings.templates.get(kind)
    if template is None:
        return message
    title, _, body = fill(template.strip(), _values(message, metrics, rows, links)).partition("\n")
    return replace(message, title=title, blocks=(Text(body.strip("\n")),) if body.strip() else message.blocks)


def _title(metrics: Mapping[str, Any], kind: Kind, language: str) -> str:
    cause = (metrics.get("failure") or {}).get("cause")
    if kind is Kind.FAILED:
        return word("failed" if cause else "failed_plain", language, job=metrics["model_name"], cause=cause)
    return word(kind.value, language, job=metrics["model_name"])


def _rows(metrics: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    failure = metrics.get("failure") or {}
    if metrics.get("error"):
        rows.append((label("error", language), str(metrics["error"])))
    rows += [(label(key, language), str(failure[key])) for key in ("place", "advice") if failure.get(key)]
    if metrics.get("duration") is not None:
        rows.append((label("duration", language), duration_text(metrics["duration"])))
    rows += [(label(key, language), value_text(metrics[key])) for key in FIGURES if metrics.get(key) is not None]
    for key in ("memory", "gpu_memory"):
        peak = metrics.get(f"{key}_peak_mb")
        if peak is not None:
            rows.append((f"{label(key, language)} ({label('peak', language)})", memory_text(peak)))
    if metrics.get("report"):
        rows.append((label("report", language), str(metrics["report"][0])))
    return rows


def _links(settings: NotificationSettings, name: str) -> Links:
    """Return the links that need no run: there is none."""
    return Links(
        tuple(
            (known(f"link_{text}", settings.language, text), url.replace("{job}", quote(name, safe="")))
            for text, url in settings.links
            if "{run}" not in url
        )
    )


def _values(message: Message, metrics: Mapping[str, Any], rows: list[tuple[str, str]], links: Links) -> dict[str, str]:
    """Return what the names in a template stand for."""
    failure = metrics.get("failure") or {}
    told = {key: metrics.get(key) for key in ("error", "epochs", "best_epoch")}
    return {
        **{key: value_text(value) for key, value in told.items() if value is not None},
        **{key: str(failure.get(key) or "") for key in ("cause", "advice", "place")},
        "job": message.job or "",
        "level": message.level.value,
        "title": message.title,
        "state": str(metrics["status"]),
        "time": "" if metrics.get("duration") is None else duration_text(metrics["duration"]),
        "best_value": "" if metrics.get("best_accuracy") is None else value_text(metrics["best_accuracy"]),
        "figures": "\n".join(": ".join(row) for row in rows),
        "lines": "\n".join(failure.get("lines") or ()),
        "links": "\n".join(": ".join(row) for row in links.rows),
    }


def _for_programs(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics as JSON has them: no value that is not finite."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in metrics.items()
        if isinstance(value, (str, int, float, type(None)))
    }
