"""Lines over epochs or over time: those with a colour in front, the rest in grey behind them, as one path."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parallel_ml.core.text import number, safe, shorten
from parallel_ml.report.charts.scale import Scale, scale_of, thinned
from parallel_ml.report.charts.style import colour_class

WIDTH, HEIGHT = 480, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 14, 40
MOST_POINTS = 240
"""Points of a line that has a colour; there are half as many pixels or so."""
MOST_GREY_POINTS = 20_000
"""Points of all the grey lines together: 200 kB."""
_NAME_CELLS = 60

Point = tuple[float, "float | None"]


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: Shown where the pointer rests on it.
        points: From left to right; a None breaks the line, as do values that are not finite.
        colour: Its place among the colours; None is grey.
        dashed: Whether it is the lesser one of two with one colour.
        mark: A point to be set off, or None.
    """

    name: str
    points: Sequence[Point]
    colour: int | None = 0
    dashed: bool = False
    mark: tuple[float, float] | None = None


def curves(
    lines: Sequence[Line],
    *,
    description: str,
    x_title: str,
    y_title: str = "",
    x_text: Callable[[float], str] = number,
    from_zero: bool = False,
) -> str:
    """Return a chart as SVG; "" where no line has a point that can be drawn.

    Values above 0 that differ by more than a factor of 1000 are drawn on a logarithmic axis.

    Args:
        lines: Those in grey are behind the others.
        description: What the chart shows, for those who do not see it.
        x_title: What the horizontal axis is.
        y_title: What the vertical axis is.
        x_text: How a place on the horizontal axis is written.
        from_zero: Whether the vertical axis begins at 0 in any case.
    """
    known = [_finite(line) for line in lines]
    xs = [x for line in known for x, y in line.points if y is not None]
    ys = [y for line in known for _, y in line.points if y is not None]
    if not ys:
        return ""
    across = scale_of(xs, _LEFT, WIDTH - _RIGHT)
    up = scale_of([0.0, *ys] if from_zero else ys, HEIGHT - _BOTTOM, _TOP, may_be_log=not from_zero)
    rest = [line for line in known if line.colour is None]
    parts = [_axes(across, up, x_title, y_title, x_text, whole=all(float(x).is_integer() for x in xs))]
    if rest:
        each = max(4, MOST_GREY_POINTS // len(rest))
        shape = "".join(_shape(thinned(line.points, each), across, up, 0) for line in rest)
        parts.append(f'<path class="line rest" d="{shape}"/>')
    parts += [_drawn(line, across, up) for line in reversed(known) if line.colour is not None]
    label = html.escape(safe(description), quote=True)
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _finite(line: Line) -> Line:
    """Return a line with None for every value that cannot be drawn."""
    points = [
        (x, y if y is not None and math.isfinite(y) else None)
        for x, y in line.points
        if math.isfinite(x) and abs(x) < 1e15
    ]
    return Line(line.name, points, line.colour, line.dashed, line.mark)


def _drawn(line: Line, across: Scale, up: Scale) -> str:
    css = f"line {colour_class(line.colour)}{' dashed' if line.dashed else ''}"
    shape = _shape(thinned(line.points, MOST_POINTS), across, up, 1)
    title = html.escape(shorten(safe(line.name), _NAME_CELLS))
    mark = ""
    known = [(x, y) for x, y in line.points if y is not None]
    place = known[0] if len(known) == 1 else line.mark  # a point alone would hardly be seen
    if place is not None and all(map(math.isfinite, place)):
        x, y = across.at(place[0]), up.at(place[1])
        mark = f'<circle class="mark {colour_class(line.colour)}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
    return f'<g><title>{title}</title><path class="{css}" d="{shape}"/>{mark}</g>'


def _shape(points: Sequence[Point], across: Scale, up: Scale, digits: int) -> str:
    """Return the path through points, with a new beginning behind each gap; a point alone becomes a dot."""
    parts, alone = [], False
    for x, y in points:
        if y is None:
            parts.append("h0" if alone else "")
            alone = False
            continue
        place = f"{across.at(x):.{digits}f} {up.at(y):.{digits}f}"
        begins = not parts or not parts[-1].startswith(("M", "L"))
        parts.append(f"{'M' if begins else 'L'}{place}")
        alone = begins
    return "".join([*parts, "h0" if alone else ""])


def _axes(across: Scale, up: Scale, x_title: str, y_title: str, x_text: Callable[[float], str], *, whole: bool) -> str:
    floor, wall = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    ticks = [tick for tick in across.ticks() if not whole or float(tick).is_integer()]
    parts = [f'<path class="grid" d="{"".join(f"M{_LEFT} {up.at(tick):.1f}H{wall}" for tick in up.ticks())}"/>']
    parts.append(f'<path class="axis" d="M{_LEFT} {floor}H{wall}"/>')
    parts += [
        f'<text x="{_LEFT - 6}" y="{up.at(tick) + 4:.1f}" text-anchor="end">{number(tick)}</text>'
        for tick in up.ticks()
    ]
    for tick in ticks:
        text = html.escape(x_text(tick))
        parts.append(f'<text x="{across.at(tick):.1f}" y="{floor + 16}" text-anchor="middle">{text}</text>')
    title = html.escape(shorten(safe(x_title), _NAME_CELLS))
    parts.append(f'<text x="{(_LEFT + wall) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{title}</text>')
    if y_title:
        parts.append(f'<text x="2" y="{_TOP - 3}">{html.escape(shorten(safe(y_title), _NAME_CELLS))}</text>')
    return "".join(parts)
