"""`params`: the free values of a job's configuration, for an own program. Standard library only, but for long ones."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["params", "read_params"]


def read_params(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values under `params` of the job that this process belongs to; {} outside of one.

    Args:
        environ: Its environment. What is too long for a variable stands in the job's own configuration alone.
    """
    text, config = environ.get("PARALLEL_ML_PARAMS"), environ.get("PARALLEL_ML_CONFIG")
    if text:
        return dict(json.loads(text))
    if not config:
        return {}
    import yaml  # noqa: PLC0415 - most programs need none

    return dict(yaml.safe_load(Path(config).read_text(encoding="utf-8")).get("params") or {})


params: dict[str, Any] = read_params(os.environ)
"""They are this process's own: changing them changes nothing elsewhere."""
