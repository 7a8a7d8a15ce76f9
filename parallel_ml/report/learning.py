"""The curves of a report: each metric by epoch, all jobs in one chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from parallel_ml.core.comparison import finite
from parallel_ml.core.text import number
from parallel_ml.report import figures
from parallel_ml.report.blocks import Block, Chart, Legend, Table, Text
from parallel_ml.report.charts.curves import Line, Point, curves
from parallel_ml.report.facts import JobFacts, Report
from parallel_ml.report.words import joined, label, named, sentences
from parallel_ml.store.run_view import read_metrics

MOST_CHARTS = 8
_MOST_DASHED = 6
"""With more jobs, a second line for each is too many."""
_NO_CURVE = frozenset({"epochs", "time_per_epoch", "memory_usage", "gpu_utilization"})
_FIRST = ("loss", "accuracy")
_LAST = ("learning_rate",)
_COLUMNS = 8
_MOST_NAMED = 5


def curve_blocks(report: Report, language: str) -> list[Block]:
    """Return a chart for each metric: loss and accuracy first, then the jobs' own."""
    charts = [chart for base in _bases(report)[:MOST_CHARTS] if (chart := _curve(report, base, language)) is not None]
    if not charts:
        return []
    rest = len(report.jobs) - len(report.drawn)
    told = [label("solid_dashed" if _dashes(report) else "one_each", language), label("ring", language)]
    if rest > 0:
        told.insert(0, label("rest_grey", language, drawn=len(report.drawn), rest=rest))
    return [Legend(report.drawn), Text(sentences(told, language)), *charts, *_nonfinite(report, language)]


def drawn_curves(report: Report) -> dict[str, dict[str, list[Point]]]:
    """Return the curves of the coloured jobs as figures: each metric's (epoch, value) by the job's label."""
    names = list(dict.fromkeys(name for job in report.coloured for name in job.result.history if name not in _NO_CURVE))
    found: dict[str, dict[str, list[Point]]] = {}
    for name in names:
        lines = {job.label: points for job in report.coloured if (points := _points(job, name))}
        if lines:
            found[name] = lines
    return found


def _bases(report: Report) -> list[str]:
    """Return the metrics of which at least one job told a value, those of training and validation as one."""
    told = dict.fromkeys(
        _base(name)
        for job in report.jobs
        for name, values in job.result.history.items()
        if name not in _NO_CURVE and any(finite(value) is not None for value in values)
    )
    own = [base for base in told if base not in (*_FIRST, *_LAST)]
    return [*(base for base in _FIRST if base in told), *own, *(base for base in _LAST if base in told)]


def _base(name: str) -> str:
    return name.removeprefix("val_").removeprefix("train_")


def _curve(report: Report, base: str, language: str) -> Chart | None:
    lines = list(_lines(report, base))
    values = [y for line in lines for _, y in line.points if y is not None]
    solid = [line for line in lines if not line.dashed and line.colour is not None]
    if not values:
        return None
    title = named(base, language)
    last = next((line for line in solid if any(y is not None for _, y in line.points)), lines[0])
    description = label(
        "curve_alt",
        language,
        metric=title,
        count=len({line.name for line in lines if not line.dashed}),
        low=number(min(values)),
        high=number(max(values)),
        job=last.name,
        last=next((number(y) for _, y in reversed(last.points) if y is not None), "-"),
    )
    svg = curves(lines, description=description, x_title=label("epoch", language))
    return Chart(title, svg, description, _curve_table(title, solid, language))


def _lines(report: Report, base: str) -> Iterator[Line]:
    places = {name: place for place, name in enumerate(report.drawn)}
    dashes = _dashes(report)
    for job in report.jobs:
        colour = places.get(job.label)
        validation, training = _points(job, f"val_{base}"), _points(job, f"train_{base}")
        solid = validation or training or _points(job, base)
        if solid:
            mark = _mark(job, report.measure.metric) if f"val_{base}" == report.measure.metric else None
            yield Line(job.label, solid, colour, mark=mark if colour is not None else None)
        if validation and training and colour is not None and dashes:
            yield Line(job.label, training, colour, dashed=True)


def _dashes(report: Report) -> bool:
    return len(report.jobs) <= _MOST_DASHED


def _mark(job: JobFacts, metric: str) -> tuple[float, float] | None:
    """Return the best epoch of a job, as a point."""
    if job.best is None:
        return None
    value = job.best[0]
    return next(((x, y) for x, y in _points(job, metric) if y == value), None)


def _points(job: JobFacts, metric: str) -> list[Point]:
    """Return a metric by epoch, [] where it has no value that can be drawn; an epoch that is no number is counted."""
    values = job.result.history.get(metric)
    if values is None:
        return []
    epochs = job.result.history.get("epochs", [])
    points: list[Point] = []
    for place, value in enumerate(values):
        epoch = finite(epochs[place]) if place < len(epochs) else None
        points.append((float(place + 1) if epoch is None else epoch, finite(value)))
    return points if any(y is not None for _, y in points) else []


def _nonfinite(report: Report, language: str) -> list[Block]:
    """Return what is missing in curves because it was not finite, of the coloured jobs."""
    found = []
    for job in report.coloured:
        points = read_metrics(report.runs[job.run].layout.job(job.status.name).metrics)
        for metric in dict.fromkeys(name for point in points for name in _names(point.get("nonfinite"))):
            when = [number(point.get("epoch")) for point in points if metric in _names(point.get("nonfinite"))]
            epochs = joined([*when[:_MOST_NAMED], *(["…"] if len(when) > _MOST_NAMED else [])], language)
            found.append(Text(label("nonfinite", language, job=job.label, metric=metric, epochs=epochs)))
    return list(found[: 2 * _MOST_NAMED])


def _names(nonfinite: Any) -> list[str]:
    return [str(name) for name in nonfinite] if isinstance(nonfinite, dict) else []


def _curve_table(title: str, lines: Sequence[Line], language: str) -> Table | None:
    """Return some epochs of the coloured lines as figures."""
    epochs = sorted({x for line in lines for x, _ in line.points})
    if not epochs:
        return None
    step = max(1, -(-len(epochs) // _COLUMNS))
    shown = sorted({*epochs[::step], epochs[-1]})
    rows = []
    for line in lines:
        values = dict(line.points)
        rows.append((line.name, *(figures.figure(values.get(epoch)) for epoch in shown)))
    header = (label("job", language), *(f"{label('epoch', language)} {number(epoch)}" for epoch in shown))
    return Table(title, header, rows, frozenset(range(1, len(header))))
