"""Dataclasses to and from plain JSON values, by their type hints.

What an older version did not write takes its default; what a newer one added is ignored. So a recorded file loads for
ever, as long as a field keeps its name and meaning.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
_UNIONS = (typing.Union, types.UnionType)


def encode(value: Any) -> Any:
    """Return `value` as JSON values: dataclasses become objects, enumerations their values, tuples and sets lists."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    if dataclasses.is_dataclass(value):
        return {name: encode(getattr(value, name)) for name in _field_names(value.__class__)}
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(encode(item) for item in value)
    return [encode(item) for item in value]


def decode(kind: type[T], data: Any) -> T:
    """Return a `kind` built from what `encode` gave.

    Raises:
        TypeError, ValueError, KeyError: The data does not fit the type.
    """
    any_kind: Any = kind
    result: T = _decoder(any_kind)(data)
    return result


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _decoder(kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        inner = _decoder(next(part for part in arguments if part is not type(None)))
        return lambda data: None if data is None else inner(data)
    if origin in (tuple, set, list):
        item = _decoder(arguments[0])
        return lambda data: origin(item(part) for part in data)
    if origin is dict:
        item = _decoder(arguments[1])
        return lambda data: {key: item(part) for key, part in data.items()}
    if dataclasses.is_dataclass(kind):
        return _dataclass_decoder(typing.cast("type", kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _as_it_is


def _dataclass_decoder(kind: type) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {name: _decoder(hints[name]) for name in _field_names(kind)}

    def build(data: Any) -> Any:
        if not isinstance(data, dict):
            message = f"{data!r} is no {kind.__name__}"
            raise TypeError(message)
        return kind(**{name: fields[name](value) for name, value in data.items() if name in fields})

    return build


def _as_it_is(data: Any) -> Any:
    return data
