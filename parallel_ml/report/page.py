"""A report as one HTML file: its style and its charts in it, no script, nothing from outside.

Whatever a job wrote goes through `_text`, which escapes it; charts come escaped. A browser that is asked to load or
run anything refuses by the page's own policy.
"""

from __future__ import annotations

from collections.abc import Iterator

from parallel_ml.notify.escape import clean, clean_lines, escape_html
from parallel_ml.report.blocks import Block, Chart, Document, Facts, Legend, Lines, Section, Table, Text
from parallel_ml.report.charts.style import CHART_STYLE, colour_class
from parallel_ml.report.page_style import PAGE_STYLE
from parallel_ml.report.words import label

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_STATES = frozenset(
    {"completed", "failed", "stopped", "running", "pending", "paused", "retrying", "starting", "stopping"}
)


def page(document: Document) -> str:
    """Return the whole report."""
    language = "zh-CN" if document.language == "zh" else "en"
    title = _text(document.title)
    links = "".join(f'<a href="#{section.key}">{_text(section.title)}</a>' for section in document.sections)
    skip = f'<a class="skip" href="#jobs">{_text(label("skip", document.language))}</a>'
    body = "\n".join(_section(section, document.language) for section in document.sections)
    return (
        f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">'
        f"<title>{title}</title>\n<style>{PAGE_STYLE}{CHART_STYLE}</style></head>\n"
        f"<body>{skip}<header><h1>{title}</h1><nav>{links}</nav></header>\n<main>\n{body}\n</main></body></html>\n"
    )


def _section(section: Section, language: str) -> str:
    return (
        f'<section aria-labelledby="{section.key}"><h2 id="{section.key}">{_text(section.title)}</h2>\n'
        + "\n".join(_blocks(section, language))
        + "\n</section>"
    )


def _blocks(section: Section, language: str) -> Iterator[str]:
    """Yield the blocks, charts that follow each other beside each other."""
    charts: list[Chart] = []
    for block in (*section.blocks, None):
        if isinstance(block, Chart):
            charts.append(block)
            continue
        if charts:
            few = " few" if len(charts) == 1 else ""
            yield f'<div class="charts{few}">{"".join(_chart(one, language) for one in charts)}</div>'
            charts = []
        if block is not None:
            yield _block(block, language)


def _block(block: Block, language: str) -> str:
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Facts):
        return f"<dl>{''.join(f'<dt>{_text(name)}</dt><dd>{_text(value)}</dd>' for name, value in block.rows)}</dl>"
    if isinstance(block, Text):
        return f"<p{' class=lead' if block.strong else ''}>{_text(block.text)}</p>"
    if isinstance(block, Lines):
        lines = "\n".join(escape_html(shown) for line in block.lines for shown in clean_lines(line))
        return f"<p>{_text(block.title)}</p><pre>{lines}</pre>"
    if isinstance(block, Legend):
        return _legend(block, language)
    return _chart(block, language)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col"{_css(table, place)}>{_text(name)}</th>' for place, name in enumerate(table.header))
    body = "\n".join(_row(table, place) for place in range(len(table.rows)))
    name = _text(table.caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table><caption>{name}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _row(table: Table, place: int) -> str:
    first, *others = table.rows[place]
    cells = "".join(_cell(table, place, column, text) for column, text in enumerate(others, 1))
    best = ' class="best"' if place == table.strong else ""
    return f'<tr{best}><th scope="row">{_text(first)}</th>{cells}</tr>'


def _cell(table: Table, place: int, column: int, text: str) -> str:
    if column == table.state:
        state = table.states[place]
        return f'<td><span class="state{f" {state}" if state in _STATES else ""}">{_text(text)}</span></td>'
    return f"<td{_css(table, column)}>{_text(text)}</td>"


def _css(table: Table, column: int) -> str:
    return ' class="number"' if column in table.numbers else ""


def _chart(chart: Chart, language: str) -> str:
    wide = ' class="wide"' if chart.wide else ""
    drawn = chart.svg or f"<p>{_text(chart.description)}</p>"
    table = ""
    if chart.table is not None:
        opened = "" if chart.svg else " open"
        table = (
            f"<details{opened}><summary>{_text(label('as_table', language))}</summary>{_table(chart.table)}</details>"
        )
    return f"<figure{wide}><figcaption>{_text(chart.title)}</figcaption>{drawn}{table}</figure>"


def _legend(legend: Legend, language: str) -> str:
    keys = "".join(
        f'<li><svg class="key" viewBox="0 0 24 10" aria-hidden="true">'
        f'<path class="line {colour_class(place)}" d="M3 5H21"/></svg>{_text(name)}</li>'
        for place, name in enumerate(legend.names)
    )
    return f'<ul class="legend" aria-label="{_text(label("colours", language))}">{keys}</ul>'


def _text(text: str) -> str:
    return escape_html(clean(text))
