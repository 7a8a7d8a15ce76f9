"""The ratios of a measurement as a picture: one bar a line, on a scale of powers, drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.measure import Figure

ROW, LEFT, WIDTH, RIGHT = 22, 430, 420, 130
_STYLE = "text{font:13px system-ui,sans-serif;fill:#222}.peer{fill:#666}rect{fill:#4878a8}.less{fill:#3a8a5a}"


def svg(found: Mapping[str, Sequence[Figure]]) -> str:
    """Return a picture of every figure that has a peer; bars to the right of 1 took longer, to the left less."""
    rows = [(claim, figure) for claim, figures in found.items() for figure in figures if figure.ratio]
    most = max((abs(math.log10(figure.ratio or 1)) for _, figure in rows), default=1) or 1
    height = ROW * (len(rows) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}" role="img">',
        f"<title>Ratios to the peer named in each line</title><style>{_STYLE}</style>",
        f'<line x1="{_x(1, most)}" x2="{_x(1, most)}" y1="{ROW}" y2="{height - ROW}" stroke="#888"/>',
    ]
    for place, (claim, figure) in enumerate(rows):
        parts += _row(place, claim, figure, most)
    return "\n".join([*parts, "</svg>", ""])


def _row(place: int, claim: str, figure: Figure, most: float) -> list[str]:
    ratio = figure.ratio or 1.0
    y, at, one = ROW * (place + 1), _x(ratio, most), _x(1, most)
    kind = ' class="less"' if ratio < 1 else ""
    return [
        f'<text x="4" y="{y + 15}">{escape(claim)}: {escape(figure.what)[:62]}</text>',
        f'<rect{kind} x="{min(at, one):.1f}" y="{y + 4}" width="{max(1.0, abs(at - one)):.1f}" height="{ROW - 8}"/>',
        f'<text x="{LEFT + WIDTH + 6}" y="{y + 15}">{ratio:.3g} x</text>',
        f"<title>{escape(figure.what)} is {ratio:.3g} times {escape(figure.peer)}</title>",
    ]


def _x(ratio: float, most: float) -> float:
    return LEFT + WIDTH / 2 * (1 + math.log10(ratio) / most)
