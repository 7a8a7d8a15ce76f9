"""The report of a run: in the language of its messages, and written into its folder when it has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from parallel_ml.errors import ParallelMLError
from parallel_ml.notify.settings import NotificationSettings
from parallel_ml.runtime.log import open_log
from parallel_ml.runtime.messages import secrets_of, settings_of
from parallel_ml.store.files import read_json
from parallel_ml.store.layout import RunLayout


def language_of(layout: RunLayout, environ: Mapping[str, str]) -> str:
    """Return the language of a run's messages: that of their first channel, else of their settings, else `en`."""
    return _language(_settings(layout, environ))


def secrets_known(layouts: Iterable[RunLayout], environ: Mapping[str, str]) -> list[str]:
    """Return the secrets of the channels of some runs, which no report may show: a job may have printed one."""
    return [secret for layout in layouts for secret in _secrets(_settings(layout, environ))]


def _settings(layout: RunLayout, environ: Mapping[str, str]) -> NotificationSettings:
    """Return a run's settings for messages; those that cannot be read any more ask for nothing."""
    with contextlib.suppress(ParallelMLError, OSError, AttributeError, TypeError):
        plan = read_json(layout.plan) or {}
        return settings_of(plan.get("notify") or {}, Path(plan.get("cwd") or "."), environ)
    return NotificationSettings()


def _language(settings: NotificationSettings) -> str:
    return settings.channels[0].language if settings.channels else settings.language


def _secrets(settings: NotificationSettings) -> list[str]:
    return secrets_of(settings) if settings.channels else []


def write_at_end(layout: RunLayout, environ: Mapping[str, str]) -> None:
    """Write the report of a run that has ended. Where that fails, or is interrupted, the run is none the worse."""
    try:
        from parallel_ml.report.writing import write_reports  # noqa: PLC0415 - only when a run ends

        settings = _settings(layout, environ)
        language, secrets = _language(settings), _secrets(settings)
        write_reports([layout], layout.report, time.time(), language=language, secrets=secrets)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a report must never change how a run ends
        with open_log(layout.log) as log:
            log.warning("report not written", error=repr(error), later=f"parallel-ml report {layout.dir.name}")
