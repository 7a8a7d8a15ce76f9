"""The last lines that a job wrote to its standard error, as safe text."""

from __future__ import annotations

from pathlib import Path

from parallel_ml.core.text import safe
from parallel_ml.errors import StoreError
from parallel_ml.monitor.follow import last_log_lines, parse_line
from parallel_ml.store.layout import JobLayout

STDERR_LINES = 5
_TAIL_BYTES = 64 * 1024


def last_errors(log: str | None, most: int = STDERR_LINES) -> list[str]:
    """Return the last lines that a job wrote to its standard error."""
    if not log:
        return []
    try:
        lines = last_log_lines(Path(log), JobLayout(Path(log).parent).older_log, _TAIL_BYTES)
    except (OSError, StoreError):
        return []
    records = [record for line in lines if (record := parse_line(line)) is not None]
    texts = [safe(str(record.get("message", "")).expandtabs()) for record in records if record.get("type") == "stderr"]
    return [text for text in texts if text.strip()][-most:]
