"""`dataclass`, `field` and `replace` as the standard library has them, without code that is made at import.

The standard ones write and compile several functions for every class, and load a quarter of the standard library for
that: more than a short verb like `status` takes in all. Here every record shares the same few functions. To a type
checker these are the standard ones; at run time only what this package uses of them is here.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter

__all__ = ["dataclass", "defaults_of", "field", "filler", "names_of", "replace"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

_put = object.__setattr__


class _Required:
    """Stands for the default of a field that has none."""


class _Made:
    """Stands for a default that is made anew for each record."""

    def __init__(self, make: Any) -> None:
        self.make = make


class _StandardFields:
    """Answers `dataclasses.fields`, `replace` and `asdict` for who uses them; only then is that module loaded."""

    def __get__(self, _record: object, kind: Any) -> dict[str, Any]:
        import dataclasses  # noqa: PLC0415 - not to load it is what this module is for

        told: list[Any] = []
        for name, default in _fields_of(kind).items():
            standard: Any = dataclasses.field()
            if isinstance(default, _Made):
                standard = dataclasses.field(default_factory=default.make)
            elif default is not _Required:
                standard = dataclasses.field(default_factory=partial(_the_same, default))
            told.append((name, object, standard))
        made: Any = dataclasses.make_dataclass(kind.__name__, told)
        kind.__dataclass_fields__ = made.__dataclass_fields__
        found: dict[str, Any] = made.__dataclass_fields__
        return found


def _the_same(value: T) -> T:
    return value


def names_of(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields of a record class, or a standard dataclass; () for any other class."""
    fields: dict[str, Any] = _fields_of(kind) or getattr(kind, "__dataclass_fields__", {})
    return tuple(fields)


def defaults_of(kind: Any) -> dict[str, Any]:
    """Return the default of each field that has one, but not of those that each record has its own of."""
    return {name: one for name, one in _fields_of(kind).items() if one is not _Required and one.__class__ is not _Made}


def filler(kind: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    """Return what makes records of a class from values by name, as calling it does, and faster.

    Of its two dicts, which stay as they are, the second one's values count where both have one. They must hold nothing
    but fields. It raises a TypeError where one without a default is missing.
    """
    if not _fields_of(kind):
        return lambda values, more: kind(**(values | more))
    wanted, defaults, new = kind.__record_wanted__, kind.__record_defaults__, object.__new__

    def fill(values: dict[str, Any], more: dict[str, Any]) -> Any:
        if not wanted <= values.keys():
            return kind(**(values | more))
        record = new(kind)
        _put(record, "__dict__", {**defaults, **values, **more})
        return record

    return fill


def _fields_of(kind: Any) -> dict[str, Any]:
    found: dict[str, Any] = getattr(kind, "__record_fields__", {})
    return found


def _dataclass(decorated: type[T] | None = None, *, frozen: bool = False) -> Any:
    """Make a class one of records: its annotations are their fields."""
    if decorated is None:
        return lambda kind: _dataclass(kind, frozen=frozen)
    kind: Any = decorated
    fields = {**_fields_of(kind), **{name: vars(kind).get(name, _Required) for name in kind.__annotations__}}
    for name, default in fields.items():
        if default.__class__ is _Made and name in vars(kind):
            delattr(kind, name)
    kind.__record_fields__ = fields
    kind.__record_wanted__ = fields.keys() - defaults_of(kind).keys()
    kind.__record_defaults__ = {**fields, **dict.fromkeys(kind.__record_wanted__)}
    kind.__record_values__ = staticmethod(attrgetter(*fields) if fields else lambda _: ())
    kind.__dataclass_fields__ = _StandardFields()
    setattr(kind, "__match_args__", tuple(fields))  # noqa: B010 - mypy takes an assignment for one of the match
    kind.__init__, kind.__repr__, kind.__eq__ = _init, _repr, _eq
    kind.__hash__ = _hash if frozen else None
    if frozen:
        kind.__setattr__, kind.__delattr__ = _no_change, _no_change
    return kind


def _field(*, default_factory: Any) -> Any:
    """Return the default of a field that each record has its own of."""
    return _Made(default_factory)


def _replace(record: T, /, **changes: Any) -> T:
    """Return a record like another one, with changes."""
    kind: Any = record.__class__
    for name in kind.__record_fields__:
        if name not in changes:
            changes[name] = getattr(record, name)
    changed: T = kind(**changes)
    return changed


def _init(self: Any, *values: Any, **named: Any) -> None:
    kind = self.__class__
    fields = kind.__record_fields__
    if values:
        placed = dict(zip(fields, values, strict=False))
        if len(values) > len(fields) or not named.keys().isdisjoint(placed):
            message = f"{kind.__name__} takes {len(fields)} values, each once"
            raise TypeError(message)
        named.update(placed)
    for name in kind.__record_wanted__ - named.keys():
        if fields[name] is _Required:
            message = f"{kind.__name__} needs {name!r}"
            raise TypeError(message)
        named[name] = fields[name].make()
    if not named.keys() <= fields.keys():
        message = f"{kind.__name__} has no {', '.join(named.keys() - fields.keys())}"
        raise TypeError(message)
    _put(self, "__dict__", {**kind.__record_defaults__, **named})


def _repr(self: Any) -> str:
    told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__record_fields__)
    return f"{self.__class__.__qualname__}({told})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self.__record_values__(self) == self.__record_values__(other)


def _hash(self: Any) -> int:
    return hash(self.__record_values__(self))


def _no_change(self: Any, name: str, *_value: object) -> None:
    message = f"{self.__class__.__name__} is frozen: {name!r} stays as it is"
    raise AttributeError(message)


if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    dataclass, field, replace = _dataclass, _field, _replace
