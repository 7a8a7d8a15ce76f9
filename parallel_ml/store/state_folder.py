"""Where this program keeps what belongs to the user rather than to a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return `$XDG_STATE_HOME/parallel_ml`, by default in `~/.local/state`; it need not be there."""
    home = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(home) / "parallel_ml"
