"""`${VARIABLE}` in the text values of a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping

from parallel_ml.config.tree import Node, Path
from parallel_ml.config.yaml_text import scalar
from parallel_ml.errors import ConfigProblem

_PLACEHOLDER = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|\$\{")


def expand(node: Node, environ: Mapping[str, str], path: Path = ()) -> tuple[Node, list[ConfigProblem]]:
    """Return the tree with `${VARIABLE}` and `${VARIABLE:-default}` replaced, and what could not be.

    `$${` stands for a literal `${`. The default takes the place of a variable that is unset or empty, as in a shell.
    A replaced value stays text, and the fields that want a number read it as one; the free-form values under `params`
    have no such field, so there it is read as if it had been written without quotes.
    """
    problems: list[ConfigProblem] = []
    if isinstance(node.value, dict):
        pairs = {key: expand(child, environ, (*path, key)) for key, child in node.value.items()}
        problems = [problem for _, found in pairs.values() for problem in found]
        return Node({key: child for key, (child, _) in pairs.items()}, node.file, node.line), problems
    if isinstance(node.value, list):
        items = [expand(child, environ, (*path, place)) for place, child in enumerate(node.value)]
        problems = [problem for _, found in items for problem in found]
        return Node([child for child, _ in items], node.file, node.line), problems
    if not (isinstance(node.value, str) and "${" in node.value):
        return node, []
    text, complaints = _expand_text(node.value, environ)
    problems = [node.problem(path, message, hint) for message, hint in complaints]
    free = path[:1] == ("params",) and "$${" not in node.value
    return Node(scalar(text) if free and text else text, node.file, node.line), problems


def is_expanded(value: object) -> bool:
    """Whether a value as it is written holds a variable."""
    return isinstance(value, str) and any(match["name"] for match in _PLACEHOLDER.finditer(value))


def _expand_text(text: str, environ: Mapping[str, str]) -> tuple[str, list[tuple[str, str]]]:
    complaints: list[tuple[str, str]] = []

    def replaced(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match[0] == "$${":
            return "${"
        if name is None:
            complaints.append(("'${' is not followed by a variable's name and '}'", "write $${ for a literal ${"))
            return ""
        value = environ.get(name)
        if default is not None:
            return value or default[2:]
        if value is None:
            complaints.append((f"the environment variable {name} is not set", f"set it, or write ${{{name}:-default}}"))
            return ""
        if not _is_text(value):
            complaints.append((f"the environment variable {name} holds bytes that are not UTF-8 text", ""))
            return ""
        return value

    return _PLACEHOLDER.sub(replaced, text), complaints


def _is_text(value: str) -> bool:
    """Whether a value can be written to a file: the system hands on undecodable bytes as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value
