"""The conditions of alert rules as trees. Frozen data; `alert_expressions` makes them, `alert_values` judges them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from parallel_ml.core.alert_functions import FUNCTIONS

_ALIASES = {
    "loss": "train_loss",
    "accuracy": "train_accuracy",
    "acc": "train_accuracy",
    "train_acc": "train_accuracy",
    "val_acc": "val_accuracy",
}


@dataclass(frozen=True)
class Number:
    """A number; a time is in seconds, a size in bytes."""

    value: float
    is_size: bool = False


@dataclass(frozen=True)
class Metric:
    """The newest known value of a metric, or of a reading of the machine."""

    name: str


@dataclass(frozen=True)
class Call:
    """A function with its metric and its options, defaults filled in.

    Attributes:
        k: How many values, or epochs, it looks back.
        least: What counts as better (`min_delta`), or the value to take where there is none (`usual_epoch`).
        mode: `min` or `max`, for what has a best value.
    """

    function: str
    metric: str | None = None
    k: int = 1
    least: float | None = None
    mode: str = ""


@dataclass(frozen=True)
class Arithmetic:
    """Two numbers and + - * or /."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Negative:
    """A number with its sign turned."""

    part: Expression


@dataclass(frozen=True)
class Comparison:
    """A chain such as `0 < x <= 1`: one more part than operators."""

    operators: tuple[str, ...]
    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Logic:
    """Parts joined by `and` or `or`."""

    operator: str
    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: Expression


Expression = Number | Metric | Call | Arithmetic | Negative | Comparison | Logic | Not


def is_condition(tree: Expression) -> bool:
    """Whether it is true or false, rather than a number."""
    return isinstance(tree, (Comparison, Logic, Not)) or (isinstance(tree, Call) and FUNCTIONS[tree.function].condition)


def walk(tree: Expression) -> Iterator[Expression]:
    """Yield every part of a tree."""
    yield tree
    if isinstance(tree, Arithmetic):
        parts: tuple[Expression, ...] = (tree.left, tree.right)
    elif isinstance(tree, (Negative, Not)):
        parts = (tree.part,)
    else:
        parts = tree.parts if isinstance(tree, (Comparison, Logic)) else ()
    for part in parts:
        yield from walk(part)


def canonical(name: str) -> str:
    """Return a metric's name as `metrics.jsonl` has it.

    >>> canonical("loss"), canonical("val_acc"), canonical("f1")
    ('train_loss', 'val_accuracy', 'f1')
    """
    return _ALIASES.get(name, name)


def nearest(word: str, known: Collection[str], alike: float = 0.6) -> str | None:
    """Return the known word that `word` is most likely a misspelling of, or None."""
    found = difflib.get_close_matches(word[:64].lower(), list(known), n=1, cutoff=alike)
    return found[0] if found else None
