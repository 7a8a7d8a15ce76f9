"""What a training function returned, read as figures: a dict of them, Keras's History, or a dict of lists."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FIGURES = ("final_loss", "final_accuracy", "best_epoch", "best_accuracy", "epochs")
_WHOLE = frozenset({"best_epoch", "epochs"})
_MOST_FURTHER = 20
_LONGEST_CURVE = 1_000_000


def read_figures(result: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Return the figures that a result tells, and what else it has that is a number, both without what is not told.

    What the result names as `FIGURES` does is taken as it stands. The rest comes from its curves (lists with a value
    for each epoch), those of the validation where there are some: by these a model is judged. Epochs count from 1.

    >>> read_figures({"loss": [0.9, 0.4], "val_accuracy": [0.8, 0.7]})[0]
    {'epochs': 2, 'final_loss': 0.4, 'final_accuracy': 0.7, 'best_accuracy': 0.8, 'best_epoch': 1}
    """
    told = _mapping(result)
    curves = _curves(told, result)
    figures = _of_curves(curves)
    further: dict[str, float] = {}
    for key, value in told.items():
        number = as_number(value)
        if number is None or not isinstance(key, str):
            continue
        if key in FIGURES:
            figures[key] = int(number) if key in _WHOLE and number.is_integer() else number
        elif len(further) < _MOST_FURTHER:
            further[key] = number
    for key, curve in curves.items():
        if key not in further and len(further) < _MOST_FURTHER:
            further[key] = curve[-1]
    return figures, further


def as_number(value: Any) -> float | None:
    """Return a number, a numpy scalar or a tensor of one value as a float; None for anything else."""
    if value is None or isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        return None
    try:
        return float(value)
    except Exception:  # noqa: BLE001 - a foreign object may raise anything, and is then no number
        return None


def _mapping(result: Any) -> Mapping[Any, Any]:
    """Return the dict that a result is or holds (`(model, history)`), or {}."""
    candidates: Iterable[Any] = result if isinstance(result, tuple) else (result,)
    return next((one for one in candidates if isinstance(one, Mapping)), {})


def _curves(told: Mapping[Any, Any], result: Any) -> dict[str, list[float]]:
    sources: list[Any] = [told, told.get("history"), *(result if isinstance(result, tuple) else (result,))]
    curves: dict[str, list[float]] = {}
    for source in map(_history, sources):
        for key, value in source.items():
            curve = _curve(value)
            if curve and isinstance(key, str):
                curves.setdefault(key, curve)
    return curves


def _history(source: Any) -> Mapping[Any, Any]:
    """Return the dict of a Keras History, of a model that was trained (its `history` is one), or a dict itself."""
    for _ in range(3):
        if isinstance(source, Mapping):
            return source
        try:
            source = getattr(source, "history", None)
        except Exception:  # noqa: BLE001 - a property of a foreign object
            return {}
    return {}


def _curve(value: Any) -> list[float]:
    """Return a list or an array with a number for each epoch; [] for anything else."""
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__len__") or not hasattr(value, "__iter__"):
        return []
    try:
        if not 0 < len(value) <= _LONGEST_CURVE:
            return []
        numbers: list[float] = []
        for item in value:
            number = as_number(item)
            if number is None:
                return []
            numbers.append(number)
    except Exception:  # noqa: BLE001 - as above
        return []
    return numbers


def _of_curves(curves: Mapping[str, Sequence[float]]) -> dict[str, float]:
    if not curves:
        return {}
    loss = _named(curves, ("val_loss",)) or _named(curves, ("loss", "train_loss"))
    accuracy = _accuracy(curves, validation=True) or _accuracy(curves, validation=False)
    figures: dict[str, float] = {"epochs": max(map(len, curves.values()))}
    if loss:
        figures["final_loss"] = loss[-1]
    best = None
    if accuracy:
        figures["final_accuracy"] = accuracy[-1]
        best = _best(accuracy, highest=True)
        if best is not None:
            figures["best_accuracy"] = accuracy[best]
    elif loss:
        best = _best(loss, highest=False)
    if best is not None:
        figures["best_epoch"] = best + 1
    return figures


def _named(curves: Mapping[str, Sequence[float]], names: Iterable[str]) -> Sequence[float]:
    return next((curves[name] for name in names if name in curves), ())


def _accuracy(curves: Mapping[str, Sequence[float]], *, validation: bool) -> Sequence[float]:
    names = [name for name in curves if name.startswith("val_") == validation]
    exact = [name for name in names if name.removeprefix("val_").removeprefix("train_") in ("accuracy", "acc")]
    return _named(curves, [*exact, *(name for name in names if name.endswith("_accuracy"))])


def _best(values: Sequence[float], *, highest: bool) -> int | None:
    """Return the place of the best value that is one, the first of equals."""
    finite = [at for at, value in enumerate(values) if math.isfinite(value)]
    if not finite:
        return None
    return max(finite, key=lambda at: (values[at] if highest else -values[at], -at))
