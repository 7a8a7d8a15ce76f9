"""A job's configuration as its run keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parallel_ml.store.layout import JobLayout


def read_config(job_dir: str | Path | None) -> dict[str, Any]:
    """Return the configuration of the job in a folder; {} where it cannot be read."""
    from parallel_ml.config.tree import plain  # noqa: PLC0415 - YAML is slow to import, and only read here
    from parallel_ml.config.yaml_text import parse  # noqa: PLC0415

    try:
        text = JobLayout(Path(job_dir)).source.read_text(encoding="utf-8") if job_dir else ""
    except (OSError, ValueError):
        return {}
    tree, _ = parse(text, str(job_dir), dumped=True)
    found = plain(tree) if tree is not None else None
    return found if isinstance(found, dict) else {}
