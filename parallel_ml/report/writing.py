"""Making reports of runs: as text in a format, and as the files that stand in a run's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from parallel_ml.report.content import document
from parallel_ml.report.facts import Report
from parallel_ml.report.gather import gather
from parallel_ml.report.markdown import markdown
from parallel_ml.report.page import page
from parallel_ml.report.record import record
from parallel_ml.store.files import ODD_CHARACTERS, write_whole
from parallel_ml.store.layout import RunLayout

FORMATS = ("html", "md", "json")


def texts(report: Report, forms: Iterable[str], language: str = "en") -> Iterator[tuple[str, str]]:
    """Yield a report in each of some formats of `FORMATS`: the format and the text."""
    wanted = list(forms)
    told = document(report, language) if {"html", "md"} & set(wanted) else None
    for form in wanted:
        if told is None or form == "json":
            yield form, _json(record(report))
        else:
            yield form, page(told) if form == "html" else markdown(told)


def _json(told: Mapping[str, Any]) -> str:
    """Return JSON with a line for each key, of a list one for each entry; to indent all takes six times as long."""
    return "{\n" + ",\n".join(f" {_line(key)}: {_lines(value)}" for key, value in told.items()) + "\n}\n"


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _line(value)
    return "[\n" + ",\n".join(f"  {_line(one)}" for one in value) + "\n ]"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def written(report: Report, form: str, language: str = "en") -> str:
    """Return a report in one format."""
    return next(text for _, text in texts(report, [form], language))


def write_reports(
    layouts: Sequence[RunLayout],
    place: Callable[[str], Path],
    now: float,
    *,
    forms: Iterable[str] = FORMATS,
    language: str = "en",
    secrets: Iterable[str] = (),
) -> list[Path]:
    """Write a report of one run, or of several that are compared, and return its files.

    Args:
        layouts: The runs.
        place: Returns where the file of a format goes.
        now: Seconds since the epoch.
        forms: In which formats.
        language: `en` or `zh`.
        secrets: What must not be shown, beside what looks like a secret.

    Raises:
        StoreError: No run can be read, or a file cannot be written.
    """
    report = gather(layouts, now, secrets)
    paths = []
    for form, text in texts(report, forms, language):
        path = place(form)
        write_whole(path, text.encode("utf-8", ODD_CHARACTERS))
        paths.append(path)
    return paths
