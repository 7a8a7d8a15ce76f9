"""A message as text, as Markdown in four dialects, and as HTML: escaped for its medium and cut to its size.

Every rendering is whole: what does not fit is left out before anything is escaped, and a last line says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from parallel_ml.notify.escape import (
    Escape,
    cell_width,
    clean,
    clean_lines,
    escape_commonmark,
    escape_dingtalk,
    escape_feishu,
    escape_html,
    escape_wecom,
    web_url,
)
from parallel_ml.notify.message import Block, Excerpt, Facts, Links, Message, Table, Text
from parallel_ml.notify.shorten import fitting
from parallel_ml.notify.words import LANGUAGES, word

Dialect = Literal["dingtalk", "wecom", "feishu", "commonmark"]

_INDENT = "\u00a0"
"""A space that no Markdown swallows."""


def plain(message: Message, max_bytes: int | None = None, *, language: str | None = None, title: bool = True) -> str:
    """Return a message as plain text, for consoles, plain e-mails and text messages.

    Args:
        message: What to say.
        max_bytes: The most it may take in UTF-8; None is no limit.
        language: `en` or `zh`, for what the renderer itself says; None is that of the message (`data["language"]`).
        title: Whether the title is the first line.
    """
    tongue = _tongue(message, language)

    def render(shown: Message, cut: bool) -> str:  # noqa: FBT001 - called by `fitting` alone
        parts = [clean(shown.title)] if title and shown.title else []
        parts += ["\n".join(_plain_block(block, tongue)) for block in shown.blocks]
        return "\n\n".join([*parts, *([word("cut", tongue)] if cut else [])])

    return _bounded(message, max_bytes, render, word("cut", tongue))


def markdown(
    message: Message,
    dialect: Dialect = "commonmark",
    max_bytes: int | None = None,
    *,
    language: str | None = None,
    title: bool = True,
) -> str:
    """Return a message as Markdown.

    Only `commonmark` (with GitHub's tables) has tables; the others get a line for each row. As for `plain`.

    Args:
        message: What to say.
        dialect: Whose Markdown.
        max_bytes: The most it may take in UTF-8; None is no limit.
        language: `en` or `zh`; None is that of the message.
        title: Whether the title is a heading at the top.
    """
    tongue, style = _tongue(message, language), _STYLES[dialect]

    def render(shown: Message, cut: bool) -> str:  # noqa: FBT001
        parts = [style.heading(clean(shown.title))] if title and shown.title else []
        parts += [style.between.join(_markdown_block(block, style, tongue)) for block in shown.blocks]
        return "\n\n".join([*parts, *([word("cut", tongue)] if cut else [])])

    return _bounded(message, max_bytes, render, word("cut", tongue))


def html(message: Message, max_bytes: int | None = None, *, language: str | None = None, title: bool = True) -> str:
    """Return a message as an HTML document that mail programs show: no script, no style sheet, nothing from outside.

    As for `plain`.
    """
    tongue = _tongue(message, language)
    lang = {"en": "en", "zh": "zh-CN"}[tongue]

    def render(shown: Message, cut: bool) -> str:  # noqa: FBT001
        heading = [f"<h3>{escape_html(clean(shown.title))}</h3>"] if title and shown.title else []
        body = [part for block in shown.blocks for part in _html_block(block, tongue)]
        notice = [f"<p><em>{word('cut', tongue)}</em></p>"] if cut else []
        head = f'<!DOCTYPE html>\n<html lang="{lang}"><head><meta charset="utf-8"></head><body>'
        return "\n".join([head, *heading, *body, *notice, "</body></html>"])

    return _bounded(message, max_bytes, render, "")


def _bounded(message: Message, max_bytes: int | None, render: Callable[[Message, bool], str], notice: str) -> str:
    return render(message, False) if max_bytes is None else fitting(message, max_bytes, render, notice)


def _tongue(message: Message, language: str | None) -> str:
    wanted = language or message.data.get("language")
    return wanted if isinstance(wanted, str) and wanted in LANGUAGES else "en"


def _plain_block(block: Block, tongue: str) -> list[str]:
    if isinstance(block, Text):
        return clean_lines(block.text)
    if isinstance(block, Excerpt):
        return [clean(block.title) + word("colon", tongue).rstrip(), *(f"  {line}" for line in _excerpt_lines(block))]
    if isinstance(block, Table):
        return _aligned(block)
    return [f"{clean(label)}{word('colon', tongue)}{clean(value)}" for label, value in block.rows]


def _aligned(table: Table) -> list[str]:
    marks = ["", *("*" if place == table.marked else "" for place in range(len(table.rows)))]
    cells = [[clean(cell) for cell in row] for row in (table.header, *table.rows)]
    if table.marked is not None:
        cells = [[f"{row[0]} {mark}".rstrip(), *row[1:]] for row, mark in zip(cells, marks, strict=True)]
    widths = [max(cell_width(row[at]) for row in cells if at < len(row)) for at in range(max(map(len, cells)))]
    return ["  ".join(_padded(cell, widths[at]) for at, cell in enumerate(row)).rstrip() for row in cells]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_width(text))


@dataclass(frozen=True)
class _Style:
    """How a dialect writes things down.

    Attributes:
        between: What parts the lines of a block; without it some clients draw them as one.
        bullet: What begins a line of a list.
        quote: What begins a line of an excerpt, where there are no fences.
    """

    escape: Escape
    title: str
    between: str = "\n"
    bullet: str = ""
    quote: str = ""
    fences: bool = False
    tables: bool = False

    def heading(self, text: str) -> str:
        return self.title.format(self.escape(text))

    def bold(self, text: str) -> str:
        shown = self.escape(text.strip())
        return f"**{shown}**" if shown else ""


_STYLES: dict[str, _Style] = {
    "commonmark": _Style(escape_commonmark, "### {}", bullet="- ", fences=True, tables=True),
    "dingtalk": _Style(escape_dingtalk, "### {}", bullet="- ", quote="> ", between="  \n"),
    "wecom": _Style(escape_wecom, "### {}", quote="> "),
    "feishu": _Style(escape_feishu, "**{}**"),
}


def _markdown_block(block: Block, style: _Style, tongue: str) -> list[str]:
    if isinstance(block, Text):
        return _text_lines(block, style)
    if isinstance(block, Excerpt):
        return _quoted(block, style, tongue)
    if isinstance(block, Table):
        return _grid(block, style) if style.tables else _row_lines(block, style, tongue)
    return [f"{style.bullet}{_pair(label, value, style, tongue, block)}" for label, value in block.rows]


def _text_lines(block: Text, style: _Style) -> list[str]:
    lines = [style.escape(line.strip()) for line in clean_lines(block.text)]
    # CommonMark joins lines unless one ends in a backslash; the others are parted by `between`.
    joined = [style.tables and bool(line and after) for line, after in zip(lines, [*lines[1:], ""], strict=True)]
    return [f"{line}\\" if broken else line for line, broken in zip(lines, joined, strict=True)]


def _pair(label: str, value: str, style: _Style, tongue: str, block: Facts | Links) -> str:
    name = clean(label)
    url = web_url(value) if isinstance(block, Links) else None
    if url is not None:
        return f"[{style.escape(name)}]({url})"
    return f"{style.bold(name)}{word('colon', tongue)}{style.escape(clean(value))}"


def _quoted(block: Excerpt, style: _Style, tongue: str) -> list[str]:
    head = style.bold(clean(block.title)) + word("colon", tongue).rstrip()
    lines = _excerpt_lines(block)
    if style.fences:
        fence = "`" * max(3, 1 + max((_longest_run(line) for line in lines), default=0))
        return [head, "", fence, *lines, fence]
    return [head, *(f"{style.quote}{_indented(line, style)}" for line in lines)]


def _indented(line: str, style: _Style) -> str:
    text = line.lstrip()
    return _INDENT * (len(line) - len(text)) + style.escape(text)


def _longest_run(line: str) -> int:
    return max((len(run) for run in "".join(c if c == "`" else " " for c in line).split()), default=0)


def _grid(table: Table, style: _Style) -> list[str]:
    def row(cells: Sequence[str], *, bold: bool = False) -> str:
        shown = [style.bold(clean(cell)) if bold else style.escape(clean(cell)) for cell in cells]
        return f"| {' | '.join(shown)} |"

    rows = [row(cells, bold=place == table.marked) for place, cells in enumerate(table.rows)]
    return [row(table.header), "|" + " --- |" * len(table.header), *rows]


def _row_lines(table: Table, style: _Style, tongue: str) -> list[str]:
    """Return a line for each row: its first cell stands out, the others with their titles, empty ones left out."""
    lines = []
    for place, (first, *others) in enumerate(table.rows):
        told = [f"{clean(title)} {clean(cell)}" for title, cell in zip(table.header[1:], others, strict=False) if cell]
        name = style.bold(clean(first)) + (f" {word('best_mark', tongue)}" if place == table.marked else "")
        shown = word("comma", tongue).join(map(style.escape, told))
        lines.append(f"{style.bullet}{name}{word('colon', tongue)}{shown}" if shown else f"{style.bullet}{name}")
    return lines


def _html_block(block: Block, tongue: str) -> list[str]:
    if isinstance(block, Text):
        return [f"<p>{'<br>'.join(map(escape_html, clean_lines(block.text)))}</p>"]
    if isinstance(block, Excerpt):
        lines = "\n".join(map(escape_html, _excerpt_lines(block)))
        head = f"<p>{escape_html(clean(block.title))}{word('colon', tongue).rstrip()}</p>"
        return [head, f'<pre style="background:#f4f4f4;padding:8px;white-space:pre-wrap">{lines}</pre>']
    if isinstance(block, Table):
        return _html_table(block)
    if isinstance(block, Facts):
        rows = (f"<tr><td><b>{_cell(label)}</b></td><td>{_cell(value)}</td></tr>" for label, value in block.rows)
        return ['<table cellpadding="3">', *rows, "</table>"]
    return ["<ul>", *(f"<li>{_html_link(label, url)}</li>" for label, url in block.rows), "</ul>"]


def _html_table(table: Table) -> list[str]:
    head = "".join(f"<th>{_cell(title)}</th>" for title in table.header)
    rows = []
    for place, cells in enumerate(table.rows):
        style = ' style="font-weight:bold;background:#e6f4ea"' if place == table.marked else ""
        rows.append(f"<tr{style}>{''.join(f'<td>{_cell(cell)}</td>' for cell in cells)}</tr>")
    opening = '<table border="1" cellpadding="4" style="border-collapse:collapse">'
    return [opening, f"<tr>{head}</tr>", *rows, "</table>"]


def _html_link(label: str, url: str) -> str:
    target = web_url(url)
    return f'<a href="{escape_html(target)}">{_cell(label)}</a>' if target else f"{_cell(label)}: {_cell(url)}"


def _cell(text: str) -> str:
    return escape_html(clean(text))


def _excerpt_lines(block: Excerpt) -> list[str]:
    return [shown for line in block.lines for shown in clean_lines(line)]
