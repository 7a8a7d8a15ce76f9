"""Which attempt was on which card when: a lane for each card, a bar for each attempt."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parallel_ml.core.text import number, safe, shorten
from parallel_ml.report.charts.scale import scale_of
from parallel_ml.report.charts.style import colour_class

WIDTH = 980
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 4, 22
_TALL, _THIN, _GAP = 16, 4, 2
_FEW_ROWS = 24
MOST_ROWS = 400


@dataclass(frozen=True)
class Bar:
    """An attempt.

    Attributes:
        lane: The card.
        begin: When it began, in seconds.
        end: When it ended.
        name: Written on it where there is room, and shown where the pointer rests on it.
        colour: Its place among the colours; None is grey.
        bad: Whether it failed.
    """

    lane: str
    begin: float
    end: float
    name: str
    colour: int | None = None
    bad: bool = False


def lanes(bars: Sequence[Bar], *, description: str, x_text: Callable[[float], str] = number) -> str:
    """Return the chart as SVG; "" where there is nothing to draw.

    Args:
        bars: In any order.
        description: What the chart shows, for those who do not see it.
        x_text: How a moment is written.
    """
    rows = _rows(bars)[:MOST_ROWS]
    if not rows:
        return ""
    each = _TALL if len(rows) <= _FEW_ROWS else _THIN
    across = scale_of([time for _, row in rows for bar in row for time in (bar.begin, bar.end)], _LEFT, WIDTH - _RIGHT)
    floor = _TOP + len(rows) * (each + _GAP)
    grid = "".join(f"M{across.at(tick):.1f} {_TOP}V{floor}" for tick in across.ticks())
    parts = [f'<path class="grid" d="{grid}"/>']
    for place, (lane, row) in enumerate(rows):
        top = _TOP + place * (each + _GAP)
        if place == 0 or rows[place - 1][0] != lane:
            parts.append(f'<text x="0" y="{top + 12}">{html.escape(shorten(safe(lane), 8))}</text>')
        parts += [_bar(bar, across.at(bar.begin), across.at(bar.end), top, each) for bar in row]
    for tick in across.ticks():
        text = html.escape(x_text(tick))
        parts.append(f'<text x="{across.at(tick):.1f}" y="{floor + 15}" text-anchor="middle">{text}</text>')
    label = html.escape(safe(description), quote=True)
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {floor + _BOTTOM}" role="img" aria-label="{label}">'
    return f"{head}{''.join(parts)}</svg>"


def _rows(bars: Sequence[Bar]) -> list[tuple[str, list[Bar]]]:
    """Return each lane's bars, in as many rows as it takes that none is on another."""
    found: list[tuple[str, list[Bar]]] = []
    for lane in sorted({bar.lane for bar in bars}, key=lambda name: (len(name), name)):
        mine: list[list[Bar]] = []
        for bar in sorted((one for one in bars if one.lane == lane), key=lambda one: (one.begin, one.end)):
            free = next((row for row in mine if row[-1].end <= bar.begin), None)
            if free is None:
                mine.append([bar])
            else:
                free.append(bar)
        found += [(lane, row) for row in mine]
    return found


def _bar(bar: Bar, begin: float, end: float, top: float, each: int) -> str:
    wide = max(1.0, end - begin)
    name = html.escape(safe(bar.name))
    css = f"bar {colour_class(bar.colour)}{' bad' if bar.bad else ''}"
    drawn = f'<rect class="{css}" x="{begin:.1f}" y="{top}" width="{wide:.1f}" height="{each}" rx="2">'
    drawn += f"<title>{name}</title></rect>"
    room = int(wide / 7.5)
    if each < _TALL or room < 3:
        return drawn
    text = html.escape(shorten(safe(bar.name), room))
    return f'{drawn}<text class="ink" x="{begin + 4:.1f}" y="{top + 12}">{text}</text>'
