"""The colours of charts, as a style sheet: a colour by its place, in a light and a dark version, and grey for the rest.

The page sets `--ink`, `--muted`, `--rule` and `--rest`; a chart uses these and `--c`, which the classes `c0` ... set.
"""

from __future__ import annotations

COLOURS = 20
"""How many lines have a colour of their own; nobody tells more apart."""

_LIGHT = (
    *("#0b6bcb", "#d9480f", "#2b8a3e", "#9c36b5", "#b07900", "#0c8599", "#e03131", "#5f3dc4", "#a61e4d", "#5c940d"),
    *("#4dabf7", "#ff922b", "#51cf66", "#da77f2", "#e6b800", "#3bc9db", "#ff8787", "#9775fa", "#f06595", "#94d82d"),
)
_DARK = (
    *("#4dabf7", "#ff8a4c", "#51cf66", "#d68cf0", "#f0b429", "#3bc9db", "#ff7b7b", "#9d86f5", "#f06595", "#a9e34b"),
    *("#1c7ed6", "#d9580f", "#2f9e44", "#ae3ec9", "#b88600", "#1098ad", "#e03131", "#7048e8", "#c2255c", "#66a80f"),
)


def colour_class(place: int | None) -> str:
    """Return the class of a line: a colour by its place, the grey one for None."""
    return "rest" if place is None else f"c{place % COLOURS}"


def _palette(colours: tuple[str, ...]) -> str:
    return "".join(f".c{place}{{--c:{colour}}}" for place, colour in enumerate(colours))


CHART_STYLE = (
    f"{_palette(_LIGHT)}.rest{{--c:var(--rest)}}"
    f"@media screen and (prefers-color-scheme:dark){{{_palette(_DARK)}}}"
    ".chart{display:block;width:100%;height:auto}.chart.matrix{width:auto;max-width:100%}"
    ".chart text{font:12px system-ui,sans-serif;fill:var(--muted);font-variant-numeric:tabular-nums}"
    ".chart .axis{stroke:var(--muted);stroke-width:1;fill:none}"
    ".chart .grid{stroke:var(--rule);stroke-width:1;fill:none}"
    ".line{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}"
    ".line.rest{stroke-width:.8}.line.dashed{stroke-width:1.2;stroke-dasharray:5 4}"
    ".mark{fill:var(--paper);stroke:var(--c);stroke-width:1.8}"
    ".cell{fill:var(--c)}.bar{fill:var(--c);fill-opacity:.75}.bar.bad{stroke:var(--bad);stroke-width:1.5}"
    ".chart .on{fill:var(--paper)}.chart .ink{fill:var(--ink)}"
    ".key{width:1.5em;height:.6em;vertical-align:middle}.key .line{stroke-width:5}"
)
