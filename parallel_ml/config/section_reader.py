"""One section of `notifications:` to its checked values, with its problems and the files that hold its secrets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from parallel_ml.config import fields
from parallel_ml.config.environment import expand, is_expanded
from parallel_ml.config.notification_schema import FILE_PREFIX, Places, is_secret_key
from parallel_ml.config.section import Section
from parallel_ml.config.tree import Node, find, plain
from parallel_ml.config.tree import Path as KeyPath
from parallel_ml.errors import ConfigProblem

SectionType = TypeVar("SectionType", bound=Section)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Found(Generic[Value]):
    """What was read, and what is wrong."""

    value: Value
    problems: tuple[ConfigProblem, ...] = ()


class SectionReader:
    """Reads sections.

    Attributes:
        plain_secrets: The files, as the user named them, in which a secret of what was read stands as it is.
    """

    def __init__(self, variables: Mapping[str, str], places: Places) -> None:
        """Take what `${NAME}` stands for, and where `file:` paths begin."""
        self.variables, self.places = variables, places
        self.plain_secrets: list[str] = []
        self._idle_files: list[Path] = []

    @property
    def secret_files(self) -> list[Path]:
        """The paths behind `file:`, those of what is switched off among them."""
        return list(dict.fromkeys([*self.places.secret_files, *self._idle_files]))

    def expanded(self, node: Node, path: KeyPath) -> tuple[Node, list[ConfigProblem]]:
        """Return a part of the document with its variables replaced, and what could not be."""
        return expand(node, self.variables, path)

    def read(
        self, model: type[SectionType], node: Node, path: KeyPath, *, more_keys: Iterable[str] = ()
    ) -> tuple[SectionType | None, list[ConfigProblem]]:
        """Return a section, or what is wrong with it.

        Args:
            model: Its keys.
            node: It, as it is written.
            path: Where it stands.
            more_keys: Keys that are right there too, and read by others.
        """
        expanded, problems = self.expanded(node, path)
        if problems:
            return None, [*problems, *unknown_keys(model, node, path, more_keys)]
        try:
            section = model.model_validate(plain(expanded), context={"places": self.places})
        except ValidationError as error:
            known = (*model.model_fields, *more_keys)
            return None, [_told(found, node, path, known) for found in error.errors(include_url=False)]
        self.note_secrets(node)
        return section, []

    def note_secrets(self, node: Node, key: str = "") -> None:
        """Remember the configurations in which secrets of a part of the document stand as they are."""
        if isinstance(node.value, dict):
            for name, child in node.value.items():
                self.note_secrets(child, key if key == "headers" else name)
        elif isinstance(node.value, list):
            for child in node.value:
                self.note_secrets(child, key)
        elif is_secret_key(key) and isinstance(node.value, str) and node.value and not is_expanded(node.value):
            self.plain_secrets += [] if node.value.startswith(FILE_PREFIX) else [node.file]

    def note_idle_files(self, node: Node) -> None:
        """Remember the files that a part names which is switched off: what is in them is a secret all the same."""
        if isinstance(node.value, dict):
            for child in node.value.values():
                self.note_idle_files(child)
        elif isinstance(node.value, str) and node.value.startswith(FILE_PREFIX):
            with contextlib.suppress(OSError, ValueError):
                self._idle_files.append(self.places.find(node.value.removeprefix(FILE_PREFIX).strip()))


def unknown_keys(model: type[Section], node: Node, path: KeyPath, more_keys: Iterable[str] = ()) -> list[ConfigProblem]:
    """Return a problem for each key of a section that it does not have."""
    known = (*model.model_fields, *more_keys)
    written = node.value if isinstance(node.value, dict) else {}
    return [_unknown(child, (*path, key), known) for key, child in written.items() if key not in known]


def _unknown(node: Node, path: KeyPath, known: Iterable[str]) -> ConfigProblem:
    names = sorted(known)
    guess = fields.nearest(str(path[-1]), names)
    return node.problem(
        path, "is not a known key", f"did you mean {guess}?" if guess else f"known here: {', '.join(names)}"
    )


def _told(error: Any, written: Node, path: KeyPath, known: Iterable[str]) -> ConfigProblem:
    here: KeyPath = tuple(error["loc"])
    node = find(written, here)
    if error["type"] == "extra_forbidden":
        return _unknown(node, (*path, *here), known)
    if error["type"] == "value_error":
        message, _, hint = str(error["ctx"]["error"]).partition("; ")
    else:
        message, hint = "is of a kind that does not belong here", ""
    if _has_variable(node):
        message = message.partition(", not ")[0]  # what a variable holds may be a secret in the wrong place
        hint = "; ".join(part for part in (hint, "the value comes from a variable") if part)
    return node.problem((*path, *here), message, hint)


def _has_variable(node: Node) -> bool:
    if isinstance(node.value, dict):
        return any(map(_has_variable, node.value.values()))
    return any(map(_has_variable, node.value)) if isinstance(node.value, list) else is_expanded(node.value)
