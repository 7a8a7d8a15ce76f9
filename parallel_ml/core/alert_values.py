"""What a condition of an alert rule is worth.

There are three answers: true, false and not known. A metric that was not told yet, nan, a division by zero and a window
that is not full yet make a comparison "not known", and its opposite too, so that neither `loss > 0.5` nor
`not loss <= 0.5` fires on a nan. `and` and `or` are Kleene's: what is known may decide.
"""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from parallel_ml.core.alert_functions import READINGS
from parallel_ml.core.alert_history import EPOCH_TIME, History, best_key
from parallel_ml.core.alert_tree import (
    Arithmetic,
    Call,
    Comparison,
    Expression,
    Logic,
    Metric,
    Negative,
    Not,
    Number,
    is_condition,
)

LEAST_FOR_MEDIAN = 3
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_ODD: dict[str, Callable[[float], bool]] = {
    "isnan": math.isnan,
    "isinf": math.isinf,
    "nonfinite": lambda value: not math.isfinite(value),
}


@dataclass(frozen=True)
class Times:
    """The clock of one evaluation, in seconds since the epoch; None is not known.

    Attributes:
        now: When it is.
        began: When the job began first.
        running_since: When it began, or went on after a pause.
        last_epoch: When an epoch was told last.
        last_log: When it last printed something.
    """

    now: float
    began: float | None = None
    running_since: float | None = None
    last_epoch: float | None = None
    last_log: float | None = None

    def since(self, last: float | None) -> float | None:
        """Return the seconds since something, or since the job runs where that is later."""
        known = [at for at in (last, self.running_since) if at is not None]
        return max(0.0, self.now - max(known)) if known else None


def holds(tree: Expression, history: History, times: Times) -> bool | None:
    """Return whether a condition is true; None where that is not known."""
    if isinstance(tree, Comparison):
        return _compared(tree, history, times)
    if isinstance(tree, Not):
        part = holds(tree.part, history, times)
        return None if part is None else not part
    if isinstance(tree, Logic):
        decisive = tree.operator == "or"
        answers = [holds(part, history, times) for part in tree.parts]
        return decisive if decisive in answers else None if None in answers else not decisive
    if isinstance(tree, Call) and is_condition(tree):
        return _judged(tree, history)
    return None


def number(tree: Expression, history: History, times: Times) -> float | None:
    """Return the value of a number; None where it is not known, and in the place of nan."""
    found = _number(tree, history, times)
    return None if found is None or math.isnan(found) else found


def _number(tree: Expression, history: History, times: Times) -> float | None:
    if isinstance(tree, Number):
        return tree.value
    if isinstance(tree, Metric):
        return history.last(tree.name)
    if isinstance(tree, Negative):
        part = number(tree.part, history, times)
        return None if part is None else -part
    if isinstance(tree, Arithmetic):
        left, right = number(tree.left, history, times), number(tree.right, history, times)
        return None if left is None or right is None else _computed(tree.operator, left, right)
    return _counted(tree, history, times) if isinstance(tree, Call) else None


def _computed(sign: str, left: float, right: float) -> float | None:
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    if sign == "*":
        return left * right
    return left / right if right else None


def _compared(tree: Comparison, history: History, times: Times) -> bool | None:
    values = [number(part, history, times) for part in tree.parts]
    answers: list[bool | None] = []
    for sign, left, right in zip(tree.operators, values, values[1:], strict=False):
        answers.append(None if left is None or right is None else _COMPARE[sign](left, right))
    return False if False in answers else None if None in answers else True


def _judged(call: Call, history: History) -> bool | None:
    """Return what a function says that is true or false."""
    name, function = call.metric, call.function
    if function == "nonfinite" and name is None:
        return any("loss" in one.lower() for one in history.nonfinite) if history.points else None
    if name is None:
        return None
    if function in ("rising", "falling"):
        return _goes(history.window(name, call.k + 1), call.k, up=function == "rising")
    if function == "plateau":
        best = history.bests.get(best_key(name, call.mode, call.least or 0.0))
        return None if best is None else best.waited >= call.k
    if function == "absent":
        if name in READINGS:
            return history.last(name) is None if history.readings or history.points else None
        return name not in history.newest if history.points else None
    last = history.last(name)
    return None if last is None else _ODD[function](last)


def _goes(values: list[float], k: int, *, up: bool) -> bool | None:
    if len(values) <= k or any(math.isnan(value) for value in values):
        return None
    pairs = pairwise(values)
    return all(before < after if up else before > after for before, after in pairs)


def _counted(call: Call, history: History, times: Times) -> float | None:
    """Return what a function gives that is a number."""
    if call.metric is None:
        return _about_time(call, history, times)
    if call.function == "first":
        return history.firsts.get(call.metric)
    if call.function in ("best", "since_best"):
        best = history.bests.get(best_key(call.metric, call.mode, call.least or 0.0))
        return None if best is None else best.value if call.function == "best" else float(best.waited)
    return _over(call.function, history.window(call.metric, call.k), call.k)


def _about_time(call: Call, history: History, times: Times) -> float | None:
    if call.function == "epoch":
        return float(history.epoch)
    if call.function == "epochs":
        return None if history.epochs is None else float(history.epochs)
    if call.function == "since_epoch":
        return times.since(times.last_epoch)
    if call.function == "since_log":
        return times.since(times.last_log)
    if call.function == "elapsed":
        return None if times.began is None else max(0.0, times.now - times.began)
    known = [value for value in history.window(EPOCH_TIME, call.k) if math.isfinite(value)]
    return statistics.median(known) if known else call.least


def _over(function: str, values: list[float], k: int) -> float | None:
    """Return a figure of a window; it must be full, and without anything that is not finite."""
    least = min(k, LEAST_FOR_MEDIAN) if function == "median" else k
    if len(values) < least or not all(math.isfinite(value) for value in values):
        return None
    if function == "min":
        return min(values)
    if function == "max":
        return max(values)
    if function == "median":
        return statistics.median(values)
    if function == "slope":
        return _slope(values)
    return sum(values) / len(values)


def _slope(values: list[float]) -> float | None:
    """Return the slope of the straight line through the values by least squares; None of fewer than two."""
    if len(values) < 2:
        return None
    middle = (len(values) - 1) / 2
    spread = sum((place - middle) ** 2 for place in range(len(values)))
    return sum((place - middle) * value for place, value in enumerate(values)) / spread
