"""A parsed YAML document that remembers the file and line of every value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from parallel_ml.errors import ConfigProblem

Path = tuple["str | int", ...]
"""Where a value stands: the keys and list places that lead to it."""


@dataclass(frozen=True)
class Node:
    """A value of a document.

    Attributes:
        value: Text, a number, true or false, None, a list of nodes, or a dict from text to nodes.
        file: The file as the user named it.
        line: 1-based line of the value's key, or of the value itself in a list.
    """

    value: Any
    file: str
    line: int

    def child(self, part: str | int) -> Node | None:
        """Return the value under a key or at a place of a list, or None."""
        if isinstance(self.value, dict):
            found: Node | None = self.value.get(part)
            return found
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            return self.value[part] if isinstance(self.value[part], Node) else None
        return None

    def problem(self, path: Sequence[str | int], message: str, hint: str = "") -> ConfigProblem:
        """Return a problem at this value, which stands at `path`."""
        return ConfigProblem(self.file, self.line, dotted(path), message, hint)


def plain(node: Node) -> Any:
    """Return the bare values, newly made: nothing is shared, whatever anchors the document has."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def merge(base: Node, over: Node) -> Node:
    """Return `base` with `over` laid on it: mappings are merged key by key, everything else is replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, over.file, over.line)


def find(root: Node, path: Sequence[str | int]) -> Node:
    """Return the node at `path`, or the deepest one on the way to it."""
    node = root
    for part in path:
        child = node.child(part)
        if child is None:
            return node
        node = child
    return node


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as people write it.

    >>> dotted(("model_training", "hidden_units", 0))
    'model_training.hidden_units[0]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def in_order(problems: Iterable[ConfigProblem]) -> list[ConfigProblem]:
    """Return problems by their lines, each once, and the files in the order in which they come up."""
    once = list(dict.fromkeys(problems))
    places = {file: place for place, file in enumerate(dict.fromkeys(problem.file for problem in once))}
    return sorted(once, key=lambda problem: (places[problem.file], problem.line or 0))
