"""Records behave as the standard library's dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from typing import Any

import pytest

from parallel_ml.records import _dataclass, _field, _replace


class Plain:
    """A class before it is one of records."""

    name: str
    size: int = 3
    tags: tuple[str, ...] = ()


class Longer:
    """A class with what each record has its own of."""

    name: str
    kept: dict[str, int]


Frozen: Any = _dataclass(frozen=True)(
    type("Frozen", (Plain,), {"__annotations__": Plain.__annotations__, "size": 3, "tags": ()})
)
Standard: Any = dataclasses.dataclass(frozen=True)(
    type("Frozen", (), {"__annotations__": Plain.__annotations__, "size": 3, "tags": ()})
)
Open: Any = _dataclass(
    type("Open", (), {"__annotations__": Longer.__annotations__, "kept": _field(default_factory=dict)})
)


@pytest.mark.parametrize(
    ("values", "named"),
    [(("a",), {}), (("a", 5), {"tags": ("x",)}), ((), {"name": "a", "size": 0}), ((), {"tags": (), "name": ""})],
)
def test_a_record_is_made_as_a_dataclass_is(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Values by place and by name, defaults, the text, the order of what it holds."""
    record, standard = Frozen(*values, **named), Standard(*values, **named)
    assert vars(record) == vars(standard)
    assert list(vars(record)) == list(vars(standard))
    assert repr(record) == repr(standard)


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), (("a", 1, (), 4), {}), (("a",), {"name": "b"}), (("a",), {"colour": "red"})]
)
def test_what_no_dataclass_takes_no_record_takes(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Missing, too many, twice, unknown."""
    for kind in (Standard, Frozen):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_records_are_compared_and_hashed_by_what_they_hold() -> None:
    """Equal ones are one member of a set; one of another class is never equal."""
    assert {Frozen("a"), Frozen("a", 3), Frozen("b")} == {Frozen("a"), Frozen("b")}
    assert Frozen("a") != Standard("a")


def test_a_frozen_record_stays_as_it_is() -> None:
    """Nothing is set and nothing is deleted."""
    record = Frozen("a")
    with pytest.raises(AttributeError):
        record.name = "b"
    with pytest.raises(AttributeError):
        del record.name
    assert record == Frozen("a")


def test_an_open_record_changes_and_has_no_hash() -> None:
    """Each has its own of what is made for it."""
    first, second = Open("a"), Open("a")
    first.kept["x"] = 1
    assert second.kept == {}
    with pytest.raises(TypeError):
        hash(first)


def test_the_standard_library_takes_a_record_for_a_dataclass() -> None:
    """`fields`, `replace` and `asdict` work, and so do copies and pickles of the package's own."""
    from parallel_ml.core.model import ProcessId, RunState  # noqa: PLC0415 - of a module, so that pickle finds it

    record = ProcessId("host", "boot", 1, 2)
    assert [field.name for field in dataclasses.fields(RunState)][:2] == ["run_id", "name"]
    assert dataclasses.replace(record, pid=7) == _replace(record, pid=7)
    assert dataclasses.asdict(record)["start_ticks"] == 2
    assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == record  # noqa: S301 - our own


def test_the_records_of_a_run_load_no_dataclasses() -> None:
    """That module alone would cost `status` more than its own modules together."""
    line = "import sys, parallel_ml.store.run_view; sys.exit('dataclasses' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line], check=False).returncode == 0
