"""Text that is safe to show, as `core.text` makes it: every line of the command line goes through it."""

from __future__ import annotations

from parallel_ml.core.text import ago, cell_width, number, safe, shorten

__all__ = ["ago", "cell_width", "number", "safe", "shorten"]
