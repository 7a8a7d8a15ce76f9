"""The report of a run: in the language of its messages, and written into its folder when it has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

from parallel_ml.errors import ParallelMLError
from parallel_ml.runtime.log import open_log
from parallel_ml.runtime.messages import settings_of
from parallel_ml.store.files import read_json
from parallel_ml.store.layout import RunLayout


def language_of(layout: RunLayout, environ: Mapping[str, str]) -> str:
    """Return the language of a run's messages: that of their first channel, else of their settings, else `en`."""
    with contextlib.suppress(ParallelMLError, OSError, AttributeError, TypeError):
        plan = read_json(layout.plan) or {}
        settings = settings_of(plan.get("notify") or {}, Path(plan.get("cwd") or "."), environ)
        return settings.channels[0].language if settings.channels else settings.language
    return "en"


def write_at_end(layout: RunLayout, environ: Mapping[str, str]) -> None:
    """Write the report of a run that has ended. Where that fails, or is interrupted, the run is none the worse."""
    try:
        from parallel_ml.report.writing import write_reports  # noqa: PLC0415 - only when a run ends

        write_reports([layout], layout.report, time.time(), language=language_of(layout, environ))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a report must never change how a run ends
        with open_log(layout.log) as log:
            log.warning("report not written", error=repr(error), later=f"parallel-ml report {layout.dir.name}")
