"""YAML text to a `Node` tree and back.

The scalars are those of YAML 1.2: `1e-3` is a number, only `true` and `false` are truth values, and `yes`, `010`,
`12:30` and `2024-01-01` are text. YAML 1.1, which PyYAML follows, reads all of these differently, to the surprise of
those who wrote them.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from parallel_ml.config.tree import Node, Path, dotted
from parallel_ml.errors import ConfigProblem

MAX_VALUES = 100_000
"""The most values of a document with its anchors written out; a "billion laughs" has more."""

MAX_LEVELS = 50

TEXT_KEYS = frozenset({"command", "cwd", "depends_on", "env", "name"})
"""Top-level keys whose values are text however they look: a version 1.10 must not become 1.1."""

SECRET_KEYS = frozenset({"access_token", "api_key", "api_secret", "password", "phone_numbers", "secret"})
"""Keys of notifications whose values are text in the same way: +86 of a telephone number is not a sign."""

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$")
_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
)
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"(?:~|null|Null|NULL|)$")
_LONGEST_NUMBER = 400
_SIMPLE = re.compile(r"(?![\s\S]*---)[\n \"#$'()+,./0-9:;<=A-Z\[\\\]^_a-z~-]*")
"""Text of which both of PyYAML's loaders read the same: ASCII without tabs, and nothing of tags, anchors, directives,
several documents, block scalars, complex keys and mappings in braces."""
_PLAIN_WORDS = {
    "mapping values are not allowed here": (
        "a ':' stands where none is allowed",
        "check the indentation, and put text that holds ': ' into quotes",
    ),
    "expected <block end>": ("the indentation does not fit the lines above", "use the same number of spaces"),
    "could not find expected ':'": ("a ':' after the key is missing", "write key: value"),
    "cannot start any token": ("a character stands where no value can start", "put the value into quotes"),
    "found undefined alias": ("an alias (*name) stands before any anchor (&name) of its name", ""),
    "while scanning a quoted scalar": ("a quote is not closed", ""),
    "expected a single document": ("holds more than one document", "remove the line '---' and write one file each"),
    "expected ',' or": ("a list or mapping in brackets is not closed, or a ',' is missing", ""),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute


class _QuickLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The loader in C: of what we have dumped, and of simple text, it reads the same; it complains in other words."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc] # the one in C is 8 times faster
    """Quotes what either version of YAML would take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        # PyYAML writes these line breaks of Unicode as they are, and reads a space from them.
        style = '"' if any(character in data for character in "\x85\u2028\u2029") else None
        node: yaml.ScalarNode = self.represent_scalar(_TAG + "str", data, style=style)
        return node


_Dumper.add_representer(str, _Dumper.represent_text)

for _name, _pattern, _first in (
    ("int", _INTEGER, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("bool", _BOOL, "tTfF"),
    ("null", _NULL, ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, list(_first))
    _Dumper.add_implicit_resolver(_TAG + _name, _pattern, list(_first))
_Loader.add_implicit_resolver(_MERGE, re.compile(r"<<$"), ["<"])


def parse(text: str, file: str, *, dumped: bool = False) -> tuple[Node | None, list[ConfigProblem]]:
    """Return the document of a YAML text, and what is wrong with it.

    Duplicate keys and unknown tags are problems beside a usable tree; with text that is no YAML there is no tree. An
    empty text is a node whose value is None.

    Args:
        text: The YAML.
        file: The file's name for messages.
        dumped: Whether `dump` has made the text.
    """
    try:
        if dumped or _SIMPLE.fullmatch(text):
            try:
                problem = _too_much(text, file)
                return (None, [problem]) if problem else _read(_QuickLoader(text), file)
            except (yaml.YAMLError, RecursionError):
                if dumped:  # whatever stands there now: the other loader could take minutes to say what is wrong
                    raise
        return _read(_Loader(text), file)  # the messages are for its words
    except yaml.MarkedYAMLError as error:
        return None, [_in_plain_words(error, text, file)]
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        return None, [ConfigProblem(file, None, "", f"holds characters that are not text: {reason}")]
    except RecursionError:
        return None, [ConfigProblem(file, None, "", f"is nested more than {MAX_LEVELS} levels deep")]


def _too_much(text: str, file: str) -> ConfigProblem | None:
    """Return a problem where a text is so deep that the loader in C would crash the process, or so long.

    Raises:
        yaml.YAMLError: The text is no YAML.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text, _QuickLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > 2 * MAX_LEVELS:  # of less `_endless` knows the line
            line = event.start_mark.line + 1 if event.start_mark else None
            return ConfigProblem(file, line, "", f"is nested more than {MAX_LEVELS} levels deep")
        if count > 2 * MAX_VALUES:  # each value is two events at the most
            return ConfigProblem(file, None, "", f"holds more than {MAX_VALUES} values")
    return None


def _read(loader: _Loader | _QuickLoader, file: str) -> tuple[Node | None, list[ConfigProblem]]:
    """Return what a loader finds.

    Raises:
        yaml.YAMLError: The text is no YAML.
        RecursionError: It is nested too deep.
    """
    try:
        root = loader.get_single_node()
        if root is None:
            return Node(None, file, 1), []
        problem = _endless(root, file)
        if problem is not None:
            return None, [problem]
        reader = _Reader(loader, file)
        return reader.node(root, root.start_mark.line + 1, (), as_text=False), reader.problems
    finally:
        loader.dispose()


def dump(value: Any) -> str:
    """Return the YAML of bare values, keys in the order given; both versions of YAML read the same from it."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096))


def scalar(text: str) -> str | int | float | bool | None:
    """Return what unquoted text means.

    >>> scalar("1e-3"), scalar("32"), scalar("yes"), scalar("010")
    (0.001, 32, 'yes', '010')
    """
    if _BOOL.match(text):
        return text.lower() == "true"
    if _NULL.match(text):
        return None
    if len(text) <= _LONGEST_NUMBER:
        if _INTEGER.match(text):
            return int(text)
        if _FLOAT.match(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


class _Reader:
    """Turns PyYAML's nodes into ours, and gathers what is wrong."""

    def __init__(self, loader: _Loader | _QuickLoader, file: str) -> None:
        self._loader, self._file = loader, file
        self._checked: set[int] = set()
        self.problems: list[ConfigProblem] = []

    def node(self, raw: yaml.Node, line: int, path: Path, *, as_text: bool) -> Node:
        if isinstance(raw, yaml.MappingNode):
            return Node(self._mapping(raw, path, as_text=as_text), self._file, line)
        if isinstance(raw, yaml.SequenceNode):
            items = [
                self.node(item, item.start_mark.line + 1, (*path, place), as_text=as_text)
                for place, item in enumerate(raw.value)
            ]
            return Node(items, self._file, line)
        return Node(self._scalar(raw, line, path, as_text=as_text), self._file, line)

    def _mapping(self, raw: yaml.MappingNode, path: Path, *, as_text: bool) -> dict[str, Node]:
        if id(raw) not in self._checked:
            self._checked.add(id(raw))
            self._check_keys(raw, path)
            self._loader.flatten_mapping(raw)
        found: dict[str, Node] = {}
        for key, value in raw.value:
            if isinstance(key, yaml.ScalarNode):
                name, line = str(key.value), key.start_mark.line + 1
                text = as_text or (not path and name in TEXT_KEYS) or (name in SECRET_KEYS and path[:1] != ("params",))
                found[name] = self.node(value, line, (*path, name), as_text=text)
        return found

    def _check_keys(self, raw: yaml.MappingNode, path: Path) -> None:
        lines: dict[str, int] = {}
        for key, _value in raw.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._problem(line, path, "a key must be text")
            elif key.tag != _MERGE:
                if key.value in lines:
                    message = f"is written twice, first in line {lines[key.value]}"
                    self._problem(line, (*path, key.value), message, "remove one of the two")
                lines.setdefault(key.value, line)

    def _scalar(self, raw: yaml.Node, line: int, path: Path, *, as_text: bool) -> Any:
        name = raw.tag.removeprefix(_TAG)
        value = raw.value
        if name == "str" or (as_text and name in {"int", "float", "bool"}):
            return value
        if name in {"int", "float", "bool", "null"}:
            return scalar(value)
        self._problem(line, path, f"the tag {raw.tag.replace(_TAG, '!!')!r} is not known", "remove the tag")
        return value

    def _problem(self, line: int, path: Path, message: str, hint: str = "") -> None:
        self.problems.append(ConfigProblem(self._file, line, dotted(path), message, hint))


def _endless(root: yaml.Node, file: str) -> ConfigProblem | None:
    """Return a problem where anchors make the document endless, enormous or deep; each node is looked at once."""
    measured: dict[int, tuple[int, int]] = {}
    unfinished: set[int] = set()

    def measure(node: yaml.Node) -> tuple[int, int]:
        """Return how many values a node stands for, and how many levels."""
        if id(node) in unfinished:
            raise _EndlessError(node.start_mark.line + 1, "an anchor holds itself")
        if id(node) in measured:
            return measured[id(node)]
        unfinished.add(id(node))
        children = [measure(child) for child in _children(node)]
        unfinished.discard(id(node))
        values = 1 + sum(child[0] for child in children)
        levels = 1 + max((child[1] for child in children), default=0)
        if values > MAX_VALUES:
            raise _EndlessError(node.start_mark.line + 1, f"holds more than {MAX_VALUES} values")
        if levels > MAX_LEVELS:
            raise _EndlessError(node.start_mark.line + 1, f"is nested more than {MAX_LEVELS} levels deep")
        measured[id(node)] = values, levels
        return values, levels

    try:
        measure(root)
    except _EndlessError as error:
        return ConfigProblem(file, error.line, "", error.message)
    return None


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


class _EndlessError(Exception):
    def __init__(self, line: int, message: str) -> None:
        self.line, self.message = line, message
        super().__init__(message)


def _in_plain_words(error: yaml.MarkedYAMLError, text: str, file: str) -> ConfigProblem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    lines = text.splitlines()
    if mark and mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]:
        return ConfigProblem(file, line, "", "a tab stands where only spaces may", "indent with spaces")
    told = f"{error.context or ''}: {error.problem or ''}"
    for words, (message, hint) in _PLAIN_WORDS.items():
        if words in told:
            return ConfigProblem(file, line, "", message, hint)
    return ConfigProblem(file, line, "", f"cannot be read as YAML: {error.problem or error.context}")
