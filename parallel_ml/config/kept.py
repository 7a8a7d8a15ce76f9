"""A job's configuration as its run keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parallel_ml.store.files import open_stream
from parallel_ml.store.layout import JobLayout

_MOST_BYTES = 4 << 20
"""Several times what a file of a user may be: this one was written out, with all that it extends."""
TYPE_CHECKING = False
if TYPE_CHECKING:
    from parallel_ml.config.tree import Node


def read_config(job_dir: str | Path | None) -> dict[str, Any]:
    """Return the configuration of the job in a folder; {} where it cannot be read, or is larger than any is.

    Its job may have put anything in its place: a document that its anchors make enormous, say.
    """
    from parallel_ml.config.tree import plain  # noqa: PLC0415 - YAML is slow to import, and only read here
    from parallel_ml.config.yaml_text import parse  # noqa: PLC0415

    if not job_dir:
        return {}
    try:
        with open_stream(JobLayout(Path(job_dir)).source, links=False) as stream:
            text = stream.read(_MOST_BYTES + 1).decode("utf-8")
    except (OSError, ValueError):
        return {}
    if len(text) > _MOST_BYTES:
        return {}
    tree, _ = parse(text, str(job_dir), dumped=True)
    found = plain(tree) if tree is not None and _length(tree) <= _MOST_BYTES else None
    return found if isinstance(found, dict) else {}


def _length(node: Node) -> int:
    """Return how many characters the texts of a tree have together; what anchors repeat counts each time."""
    if isinstance(node.value, dict):
        return sum(len(key) + _length(child) for key, child in node.value.items())
    if isinstance(node.value, list):
        return sum(map(_length, node.value))
    return len(node.value) if isinstance(node.value, str) else 0
