"""Where this program keeps what belongs to the user rather than to a run."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return `$XDG_STATE_HOME/parallel_ml`, by default in `~/.local/state`; it need not be there."""
    from pathlib import Path  # noqa: PLC0415 - a verb that reads little does not load it

    return Path(state_root(environ))


def state_root(environ: Mapping[str, str]) -> str:
    """Return the same as text."""
    home = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "parallel_ml")
