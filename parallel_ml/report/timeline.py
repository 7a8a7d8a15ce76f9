"""The cards over time: which attempt was where when, and what the jobs took meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from parallel_ml.core.comparison import finite
from parallel_ml.core.text import number
from parallel_ml.report import figures
from parallel_ml.report.blocks import Block, Chart, Legend, Table, Text
from parallel_ml.report.charts.curves import Line, curves
from parallel_ml.report.charts.lanes import Bar, lanes
from parallel_ml.report.facts import JobFacts, Report
from parallel_ml.report.words import joined, label
from parallel_ml.store.run_view import read_metrics

_MOST_RUNS = 4
"""Runs whose cards are shown over time."""
_ON_CARDS = (("gpu_memory_mb", "gpu_memory_now"), ("gpu_utilization", "gpu_use_now"))
_ON_HOST = (("memory_mb", "memory_now"), ("cpu_percent", "cpu_now"))
_NOT_BAD = frozenset({"stopped", "released"})


def timeline_blocks(report: Report, language: str) -> list[Block]:
    """Return which attempt was where when, and what the coloured jobs took meanwhile."""
    found: list[Block] = []
    for place, run in enumerate(report.runs[:_MOST_RUNS]):
        jobs = [job for job in report.jobs if job.run == place]
        blocks = [*_placement(report, jobs, run.began, language), *_use(report, jobs, run.began, language)]
        if blocks and report.several:
            found.append(Text(f"{run.title} ({run.status.run})", strong=True))
        found += blocks
    return [Legend(report.drawn), *found] if found else []


def _placement(report: Report, jobs: Sequence[JobFacts], began: float, language: str) -> list[Block]:
    places = {name: place for place, name in enumerate(report.drawn)}
    bars = []
    for job in jobs:
        for one in job.attempts:
            if one.started_at is None:
                continue
            name = job.status.name if one.number == 1 else f"{job.status.name} ({one.number})"
            bad = one.outcome is not None and not one.outcome.good and one.outcome.kind.value not in _NOT_BAD
            cards = [f"GPU {share.gpu_index}" for share in one.allocation.shares] or ["CPU"]
            end = one.ended_at if one.ended_at is not None else report.made
            colour = places.get(job.label)
            bars += [Bar(card, one.started_at - began, end - began, name, colour, bad) for card in cards]
    on = sorted({bar.lane for bar in bars})
    description = label("lanes_alt", language, count=len(bars), lanes=joined(on, language))
    svg = lanes(bars, description=description, x_text=figures.clock)
    return [Chart(label("placement", language), svg, description, wide=True)] if svg else []


def _use(report: Report, jobs: Sequence[JobFacts], began: float, language: str) -> list[Block]:
    """Return what the coloured jobs took of the cards; where no job's use of a card is known, of the host."""
    places = {name: place for place, name in enumerate(report.drawn)}
    samples = {job.label: _samples(report, job) for job in jobs if job.label in places}
    found: list[Block] = []
    for kinds in (_ON_CARDS, _ON_HOST):
        for key, title in kinds:
            lines = [
                Line(name, [(at - began, finite(one.get(key))) for at, one in told], places[name])
                for name, told in samples.items()
            ]
            found += _use_chart(label(title, language), lines, language)
        if found:
            return found if kinds is _ON_CARDS else [Text(label("no_measure", language)), *found]
    return []


def _use_chart(title: str, lines: Sequence[Line], language: str) -> list[Block]:
    peaks = [(y, line.name) for line in lines for _, y in line.points if y is not None]
    if not peaks:
        return []
    high, name = max(peaks)
    count = sum(any(y is not None for _, y in line.points) for line in lines)
    description = label("time_alt", language, what=title, count=count, high=number(high), job=name)
    x_title = label("since_start", language)
    svg = curves(lines, description=description, x_title=x_title, x_text=figures.clock, from_zero=True)
    return [Chart(title, svg, description, _use_table(title, lines, language))]


def _use_table(title: str, lines: Sequence[Line], language: str) -> Table:
    rows = []
    for line in lines:
        known = [y for _, y in line.points if y is not None]
        if known:
            rows.append((line.name, number(sum(known) / len(known)), number(max(known))))
    header = tuple(label(key, language) for key in ("job", "mean", "most"))
    return Table(title, header, rows, frozenset({1, 2}))


def _samples(report: Report, job: JobFacts) -> list[tuple[float, dict[str, Any]]]:
    """Return the samples of a job's attempts with their times; an empty one between two attempts breaks the lines."""
    files = report.runs[job.run].layout.job(job.status.name)
    found: list[tuple[float, dict[str, Any]]] = []
    for attempt in job.attempts:
        told = [
            (at, one) for one in read_metrics(files.attempt(attempt.number).samples) if (at := _at(one)) is not None
        ]
        found += [*told, *([(told[-1][0], {})] if told else [])]
    return found


def _at(sample: dict[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(sample.get("timestamp"))).timestamp()
    except (ValueError, OverflowError):
        return None
