"""The report of a training: two files, Markdown and HTML, with everything in them.

`ReportGenerator` may be replaced as a whole, or in parts: `sections` decides what a report says, the others how.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from parallel_ml.core.units import MIB
from parallel_ml.gpu.host import usable_cores, usable_memory_bytes
from parallel_ml.notify.escape import clean, clean_lines, escape_commonmark, escape_html
from parallel_ml.notify.message import Block, Excerpt, Kind, Level, Message, Table, Text
from parallel_ml.notify.render import markdown
from parallel_ml.training_monitor.figures import FIGURES
from parallel_ml.training_monitor.labels import duration_text, label, memory_text, value_text

_LONGEST_NAME = 160
"""Bytes; a file name has 255."""
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1c2024}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #d8dce0;padding:.35rem .6rem;"
    "text-align:left;overflow-wrap:anywhere}th{color:#5b6570;font-weight:600}"
    "pre{background:#f3f5f7;padding:.8rem;overflow:auto}"
    "@media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e9ec}th,td{border-color:#333a41}"
    "th{color:#9aa5b0}pre{background:#1e2328}}"
)


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


class ReportGenerator:
    """Writes a report as Markdown and as one HTML file that needs nothing else."""

    def __init__(self, directory: Path | str = "training_reports", language: str = "en") -> None:
        """Write nothing yet.

        Args:
            directory: Where reports go; it is made at the first one.
            language: `en` or `zh`.
        """
        self.directory, self.language = Path(directory), language

    def generate(self, metrics: Mapping[str, Any]) -> list[Path]:
        """Write both files and return them; none that is there is written over.

        Args:
            metrics: As `TrainingMonitor.metrics` has them at the end.

        Raises:
            OSError: They cannot be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        title, sections = self.title(metrics), self.sections(metrics)
        texts = {".md": self.markdown(title, sections), ".html": self.html(title, sections)}
        stem = _free_stem(self.directory, _stem(metrics))
        paths = [stem.with_name(stem.name + suffix) for suffix in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        return paths

    def save(self, metrics: Mapping[str, Any], text: str) -> Path:
        """Save a text as this training's report, in Markdown, and return the file.

        Raises:
            OSError: It cannot be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        stem = _free_stem(self.directory, _stem(metrics))
        path = stem.with_name(f"{stem.name}.md")
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
        return path

    def title(self, metrics: Mapping[str, Any]) -> str:
        """Return the report's heading."""
        return self._label("title", name=metrics["model_name"])

    def sections(self, metrics: Mapping[str, Any]) -> list[Section]:
        """Return what the report says."""
        found = [
            Section(self._label("summary"), (self._summary(metrics),)),
            Section(self._label("metrics"), (self._figures(metrics),)),
            Section(self._label("resources"), (self._resources(metrics),)),
        ]
        efficiency = self.efficiency(metrics)
        if efficiency:
            header = (self._label("what"), self._label("value"), self._label("how"))
            found.append(Section(self._label("efficiency"), (Table(header, tuple(efficiency)),)))
        if metrics.get("parameters"):
            rows = tuple((name, str(value)) for name, value in metrics["parameters"].items())
            found.append(Section(self._label("parameters"), (self._table(rows),)))
        if metrics.get("error"):
            found.append(Section(self._label("failure"), self._failure(metrics)))
        return found

    def efficiency(self, metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return rows of a name, a value and how it is computed; what cannot be computed is left out."""
        rows: list[tuple[str, str, str]] = []
        hours, epochs, best = (metrics.get(key) for key in ("duration", "epochs", "best_epoch"))
        cores, memory_mb = usable_cores(), usable_memory_bytes() / MIB

        def add(key: str, value: str, **values: object) -> None:
            rows.append((self._label(key), value, self._label(f"{key}_how", **values)))

        if hours and epochs:
            add("epoch_time", duration_text(hours / epochs))
        if epochs and best and best <= epochs:
            add("after_best", f"{100 * (epochs - best) / epochs:.0f} %")
        if hours and metrics.get("cpu_mean_percent") is not None:
            add("cpu_use", f"{metrics['cpu_mean_percent'] / cores:.0f} %", cores=cores)
        if metrics.get("gpu_utilization_mean") is not None:
            add("gpu_use", f"{metrics['gpu_utilization_mean']:.0f} %")
        if metrics.get("memory_peak_mb") is not None:
            share = f"{100 * metrics['memory_peak_mb'] / memory_mb:.0f} %"
            add("memory_use", share, total=memory_text(memory_mb))
        return rows

    def markdown(self, title: str, sections: Sequence[Section]) -> str:
        """Return the report as Markdown."""
        parts = [f"# {escape_commonmark(clean(title))}"]
        for section in sections:
            body = Message("report", Kind.OWN, Level.INFO, "", section.blocks)
            parts += [f"## {escape_commonmark(clean(section.title))}", markdown(body, title=False)]
        return "\n\n".join(parts) + "\n"

    def html(self, title: str, sections: Sequence[Section]) -> str:
        """Return the report as HTML: its own style in it, no script, nothing from outside."""
        shown = escape_html(clean(title))
        body = [f"<h1>{shown}</h1>"]
        for section in sections:
            body += [f"<h2>{escape_html(clean(section.title))}</h2>", *map(_html, section.blocks)]
        lang = "zh-CN" if self.language == "zh" else "en"
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{shown}</title>'
        return (
            f'<!DOCTYPE html>\n<html lang="{lang}"><head>{head}<style>{_STYLE}</style></head>\n<body>\n'
            + "\n".join(body)
            + "\n</body></html>\n"
        )

    def _label(self, key: str, **values: object) -> str:
        return label(key, self.language, **values)

    def _table(self, rows: Sequence[tuple[str, str]]) -> Table:
        return Table((self._label("what"), self._label("value")), tuple(rows))

    def _summary(self, metrics: Mapping[str, Any]) -> Table:
        hours = metrics.get("duration")
        return self._table(
            [
                (self._label("status"), self._label(str(metrics.get("status")))),
                (self._label("start_time"), str(metrics.get("start_time"))),
                (self._label("end_time"), str(metrics.get("end_time"))),
                (self._label("duration"), self._label("not_known") if hours is None else duration_text(hours)),
            ]
        )

    def _figures(self, metrics: Mapping[str, Any]) -> Block:
        rows = [(self._label(key), value_text(metrics[key])) for key in FIGURES if metrics.get(key) is not None]
        if metrics.get("epochs_planned") is not None:
            rows.append((self._label("epochs_planned"), value_text(metrics["epochs_planned"])))
        rows += [(name, value_text(value)) for name, value in (metrics.get("further") or {}).items()]
        return self._table(rows) if rows else Text(self._label("no_figures"))

    def _resources(self, metrics: Mapping[str, Any]) -> Table:
        unseen = {None: "not_known", 0: "no_gpu"}.get(metrics.get("gpus"), "gpu_not_seen")

        def row(key: str, name: str, unit: str) -> tuple[str, str, str]:
            otherwise = self._label(unseen if key.startswith("gpu") else "not_known")
            mean, peak = (_amount(metrics.get(name.format(kind)), unit, otherwise) for kind in ("mean", "peak"))
            return self._label(key), mean, peak

        return Table(
            (self._label("what"), self._label("mean"), self._label("peak")),
            (
                row("cpu", "cpu_{}_percent", "%"),
                row("memory", "memory_{}_mb", "MiB"),
                row("gpu_memory", "gpu_memory_{}_mb", "MiB"),
                row("gpu_utilization", "gpu_utilization_{}", "%"),
            ),
        )

    def _failure(self, metrics: Mapping[str, Any]) -> tuple[Block, ...]:
        told = metrics.get("failure") or {}
        rows = [(self._label("error"), str(metrics["error"]))]
        rows += [(self._label(key), str(told[key])) for key in ("cause", "place", "advice") if told.get(key)]
        lines = tuple(told.get("lines") or ())
        return (self._table(rows), *((Excerpt(self._label("traceback"), lines),) if lines else ()))


def _amount(value: float | None, unit: str, otherwise: str) -> str:
    if value is None:
        return otherwise
    return memory_text(value) if unit == "MiB" else f"{value:.0f} %"


def _html(block: Block) -> str:
    if isinstance(block, Table):
        rows = [("th", block.header), *(("td", row) for row in block.rows)]
        lines = ("".join(f"<{tag}>{escape_html(clean(cell))}</{tag}>" for cell in cells) for tag, cells in rows)
        return "<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"
    if isinstance(block, Excerpt):
        lines = (escape_html(shown) for line in block.lines for shown in clean_lines(line))
        return f"<p>{escape_html(clean(block.title))}</p>\n<pre>" + "\n".join(lines) + "</pre>"
    if isinstance(block, Text):
        return f"<p>{'<br>'.join(map(escape_html, clean_lines(block.text)))}</p>"
    return _html(Table(("", ""), block.rows))


def _stem(metrics: Mapping[str, Any]) -> str:
    """Return the name of a report: the model's, as far as a file may have it, and when the training began."""
    name = re.sub(r"[^\w.-]+", "-", str(metrics["model_name"])).strip("-.") or "model"
    name = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
    with contextlib.suppress(ValueError, TypeError):
        return f"{name}-{datetime.fromisoformat(metrics['start_time']):%Y%m%d-%H%M%S}"
    return name


def _free_stem(directory: Path, stem: str) -> Path:
    """Take the first of `stem`, `stem-2`, ... that nobody has, by making its Markdown file."""
    number = 1
    while True:
        path = directory / (stem if number == 1 else f"{stem}-{number}")
        try:
            os.close(os.open(path.with_name(path.name + ".md"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            number += 1
        else:
            return path
