"""Records to and from plain JSON values, by their annotations.

What an older version did not write takes its default; what a newer one added is ignored. So a recorded file loads for
ever, as long as a field keeps its name and meaning.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from importlib import import_module
from types import GenericAlias, UnionType

from parallel_ml.records import defaults_of, filler, names_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")


def encode(value: Any, *, sparing: bool = False) -> Any:
    """Return `value` as JSON values: records become objects, enumerations their values, tuples and sets lists.

    Args:
        value: What `decode` will give back.
        sparing: Leave out what is as its default has it. Only for what no later version has to read: with another
            default it would read something else.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, dict):
        return {key: encode(item, sparing=sparing) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(encode(item, sparing=sparing) for item in value)
    if isinstance(value, (list, tuple)):
        return [encode(item, sparing=sparing) for item in value]
    usual = _usual(value.__class__) if sparing else {}
    told = {}
    for name in names_of(value.__class__):
        item = getattr(value, name)
        if name not in usual or not (item is usual[name] or item == usual[name]):
            told[name] = encode(item, sparing=sparing)
    return told


def decode(kind: type[T], data: Any) -> T:
    """Return a `kind` built from what `encode` gave.

    Raises:
        TypeError, ValueError, KeyError: The data does not fit the type.
    """
    any_kind: Any = kind
    result: T = _decoder(any_kind)(data)
    return result


@cache
def _usual(kind: Any) -> dict[str, Any]:
    return defaults_of(kind)


@cache
def _decoder(kind: Any) -> Any:
    """Return what makes a `kind` of JSON values; None where they stay as they are."""
    if isinstance(kind, UnionType):
        inner = _decoder(next(part for part in kind.__args__ if part is not type(None)))
        return inner and (lambda data: None if data is None else inner(data))
    if isinstance(kind, GenericAlias):
        return _container_decoder(kind)
    if names_of(kind):
        return _record_decoder(kind)
    return kind if isinstance(kind, type) and issubclass(kind, Enum) else None


def _container_decoder(kind: GenericAlias) -> Any:
    origin: Any = kind.__origin__
    item = _decoder(kind.__args__[1 if origin is dict else 0])
    if origin is dict:
        return item and (lambda data: {key: item(part) for key, part in data.items()})
    return (lambda data: origin(map(item, data))) if item else origin


def _record_decoder(kind: Any) -> Any:
    names, annotations = names_of(kind), _annotations(kind)
    changes = {name: change for name in names if (change := _decoder(annotations[name])) is not None}
    changed, known, fill = changes.keys(), frozenset(names), filler(kind)

    def build(data: Any) -> Any:
        if not isinstance(data, dict):
            message = f"{data!r} is no {kind.__name__}"
            raise TypeError(message)
        values = data if data.keys() <= known else {name: data[name] for name in data if name in known}
        return fill(values, {name: changes[name](values[name]) for name in changed & values.keys()})

    return build


def _annotations(kind: type) -> dict[str, Any]:
    """Return the types of a record's fields: annotations are texts, each of the module that it stands in."""
    found: dict[str, Any] = {}
    for one in reversed(kind.__mro__[:-1]):
        names = vars(import_module(one.__module__))
        for name, text in one.__annotations__.items():
            found[name] = eval(text, names) if isinstance(text, str) else text  # noqa: S307 - our own source
    return found
