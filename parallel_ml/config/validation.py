"""From a document to a `Config`, and everything that is wrong with it in plain words with its file and line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from parallel_ml.config import fields
from parallel_ml.config.data_keys import data_problems, required
from parallel_ml.config.environment import is_expanded
from parallel_ml.config.schema import NOT_YET, Config
from parallel_ml.config.section import Section
from parallel_ml.config.sections import SCHEDULES
from parallel_ml.config.tree import Node, Path, dotted, find, plain
from parallel_ml.errors import ConfigProblem


def validate(expanded: Node, written: Node) -> tuple[Config | None, list[ConfigProblem]]:
    """Return the configuration of a document, or what is wrong with it.

    Args:
        expanded: The document with its variables replaced.
        written: The document as it is written, to say where a bad value came from.
    """
    own_program = expanded.child("command") is not None and find(expanded, ("command",)).value is not None
    problems = [] if own_program else list(_missing(expanded))
    config = None
    try:
        config = Config.model_validate(plain(expanded), context={"own_program": own_program})
    except ValidationError as error:
        problems += [_in_plain_words(found, written) for found in error.errors(include_url=False)]
    if config is not None and config.built_in:
        problems += data_problems(config, written)
    return (None if problems else config), problems


def _missing(root: Node) -> Iterator[ConfigProblem]:
    for section, key, what in required(root):
        node = root.child(section)
        if node is None or node.value is None:
            hint = f"or give a command; {key} is {what}"
            yield (node or root).problem((section,), f"is missing, and with it {section}.{key}", hint)
        elif isinstance(node.value, dict) and (child := node.child(key)) is None:
            yield node.problem((section, key), "is missing", f"it is {what}")
        elif isinstance(node.value, dict) and child is not None and child.value is None:
            yield child.problem((section, key), "has no value", f"it is {what}")


def _in_plain_words(error: Any, written: Node) -> ConfigProblem:
    path, schedule = _path(error["loc"])
    if path and isinstance(path[-1], int) and not isinstance(find(written, path[:-1]).value, list):
        path = path[:-1]  # a single value that is read as a list of one
    node = find(written, path)
    if error["type"] == "extra_forbidden":
        message, hint = _unknown(path, schedule)
    elif error["type"] == "value_error":
        message, _, hint = str(error["ctx"]["error"]).partition("; ")
    else:
        message, hint = f"cannot be {fields.shown(error['input'])}", ""
    if is_expanded(node.value):
        hint = "; ".join(part for part in (hint, f"the value comes from {node.value}") if part)
    return node.problem(path, message, hint)


def _path(loc: Sequence[str | int]) -> tuple[Path, str | None]:
    """Return pydantic's location as it is in the document, and the type of the schedule it is in."""
    path = tuple(part for part in loc if part != "[key]")
    if path[1:2] == ("learning_rate_scheduler",) and len(path) > 2 and path[2] in SCHEDULES:
        return (*path[:2], *path[3:]), str(path[2])
    return path, None


def _unknown(path: Path, schedule: str | None) -> tuple[str, str]:
    """Return what to say of a key that is not known: not built yet, misspelt, or in the wrong place."""
    *parents, key = (str(part) for part in path)
    if key in NOT_YET.get(tuple(parents), ()):
        return "is not in this version", "remove it"
    sections = dict(_sections(Config, ()))
    known = tuple(SCHEDULES[schedule].model_fields) if schedule else sections[tuple(parents)]
    guess = fields.nearest(key, known)
    if guess:
        return "is not a known key", f"did you mean {guess}?"
    homes = [dotted((*place, key)) for place, keys in sections.items() if key in keys]
    if homes:
        return "does not belong here", f"did you mean {homes[0]}?"
    return "is not a known key", f"known here: {', '.join(sorted(known))}"


def _sections(model: type[Section], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield the path and the keys of a section and of those in it."""
    yield path, (*model.model_fields, *(() if path else ("extends",)))
    for name, field in model.model_fields.items():
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, Section):
                yield from _sections(candidate, (*path, name))
