"""Alert rules as people write them, to `AlertRule`: Prometheus' keys in a mapping, or one text.

- alert: too_high
  expr: val_loss > 2
  for: 3 epochs                 # or a time: 2m
  keep_firing_for: 1 epoch
  repeat_interval: 1h
  send_resolved: true
  labels: {severity: critical}  # info, warning (the default), critical
  annotations: {summary: "val_loss is {{ $value }}"}
  action: reduce_lr             # notify (the default), stop, pause
  factor: 0.5                   # of reduce_lr, with `min`, the least rate
- val_loss > 2 for 3 epochs -> stop
- overfitting
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parallel_ml.core.alert_expressions import LONGEST_TEXT, parse
from parallel_ml.core.alert_functions import MACROS
from parallel_ml.core.alert_tree import Expression, nearest
from parallel_ml.core.outcome import StrEnum
from parallel_ml.core.units import format_duration, parse_duration
from parallel_ml.errors import AlertRuleError

MOST_RULES = 200
SEVERITIES = ("info", "warning", "critical")
BUILTIN = {
    "nan": "nonfinite()",
    # Before the first epoch has ended, five times 12 minutes are an hour.
    "hang": "since_log() > 30m and since_epoch() > 30m and since_epoch() > 5 * usual_epoch(12m)",
    "disk": "disk_free < 2GiB",
}
"""Rules that are on by default, each with its condition."""
_LONGEST_NAME = 100
_LONGEST_NOTE = 2000
_LONGEST_S = 366 * 86400.0
_MOST_EPOCHS = 1_000_000
_KEYS = (
    "alert",
    "expr",
    "for",
    "keep_firing_for",
    "repeat_interval",
    "send_resolved",
    "labels",
    "annotations",
    "severity",
    "action",
    "factor",
    "min",
)
_EPOCHS = re.compile(r"\s*(\d{1,9})\s*epochs?\s*")
_FOR = re.compile(r"\sfor\s")
_ALONE = re.compile(r"(\w+)\s*(?:\([^()]*\))?")


class AlertAction(StrEnum):
    """What is done when a rule fires, beside the message."""

    NOTIFY = "notify"
    STOP = "stop"
    PAUSE = "pause"
    REDUCE_LR = "reduce_lr"


@dataclass(frozen=True)
class Span:
    """A length of time, or of training; one of the two."""

    seconds: float = 0.0
    epochs: int = 0

    def __str__(self) -> str:
        """Return it as it is written: `3 epochs`, `2m00s`, or "" for none."""
        if self.epochs:
            return f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        return format_duration(self.seconds) if self.seconds else ""

    def is_over(self, seconds: float, epochs: int) -> bool:
        """Whether so much time and so many epochs are enough."""
        return seconds >= self.seconds and epochs >= self.epochs


@dataclass(frozen=True)
class AlertRule:
    """A rule.

    Attributes:
        name: Unique among the rules of a job.
        expr: The condition as it is written.
        tree: The same, to be evaluated.
        hold: How long it must be true before the rule fires.
        keep: How long the rule goes on firing when it no longer is.
        repeat: When it is told again while it fires; None is never.
        factor: What the learning rate is multiplied by.
        minimum: What it never falls below.
    """

    name: str
    expr: str
    tree: Expression = field(repr=False, compare=False)
    hold: Span = Span()
    keep: Span = Span()
    repeat: Span | None = None
    send_resolved: bool = True
    severity: str = "warning"
    action: AlertAction = AlertAction.NOTIFY
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    factor: float = 0.5
    minimum: float = 0.0
    builtin: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, with the keys of a rule."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": str(self.hold),
            "keep_firing_for": str(self.keep),
            "repeat_interval": str(self.repeat or ""),
            "send_resolved": self.send_resolved,
            "severity": self.severity,
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "action": self.action.value,
            **({"factor": self.factor, "min": self.minimum} if self.action is AlertAction.REDUCE_LR else {}),
            "builtin": self.builtin,
        }


def make_rules(
    written: Iterable[str | Mapping[str, Any] | AlertRule], *, builtin: bool | Collection[str] = True
) -> tuple[AlertRule, ...]:
    """Return the rules that are written, and before them the built-in ones that none of them replaces.

    >>> [rule.name for rule in make_rules(["overfitting", "loss > 2 for 3 epochs"], builtin=["nan"])]
    ['nan', 'overfitting', 'loss > 2']

    Raises:
        AlertRuleError: One of them makes no sense, or two have one name.
    """
    found: list[AlertRule] = []
    for value in written:
        rule, problems = (value, []) if isinstance(value, AlertRule) else read_rule(value)
        if problems:
            raise problems[0]
        if rule is not None:
            if any(rule.name == other.name for other in found):
                raise AlertRuleError(
                    "alert", f"{rule.name!r} is the name of two rules", "give one of them another name"
                )
            found.append(rule)
    return with_builtin(found, builtin)


def with_builtin(rules: Iterable[AlertRule], builtin: bool | Collection[str]) -> tuple[AlertRule, ...]:  # noqa: FBT001 - as it is written
    """Return the rules with those built-in ones before them that are wanted and that none of them replaces."""
    rules = tuple(rules)
    wanted = (BUILTIN if builtin else ()) if isinstance(builtin, bool) else builtin
    taken = {rule.name for rule in rules}
    return (*(_builtin(name) for name in BUILTIN if name in wanted and name not in taken), *rules)


def read_rule(value: Any) -> tuple[AlertRule | None, list[AlertRuleError]]:
    """Return the rule that a text or a mapping says, or everything that is wrong with it."""
    if isinstance(value, str):
        return _short(value)
    if not isinstance(value, Mapping):
        hint = "such as val_loss > 2 for 3 epochs, or alert: and expr:"
        return None, [AlertRuleError("", "must be a text or a mapping", hint)]
    reader = _Reader(value)
    rule = reader.rule()
    return (None if reader.problems else rule), reader.problems


def read_span(value: Any) -> Span:
    """Return a time such as `2m`, or a number of epochs such as `3 epochs`.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, str) and (match := _EPOCHS.fullmatch(value)) and 1 <= int(match[1]) <= _MOST_EPOCHS:
        return Span(epochs=int(match[1]))
    if isinstance(value, (int, str)) and not isinstance(value, bool) and str(value).strip() == "0":
        return Span()
    message = "must be a time such as 2m, or a number of epochs such as 3 epochs"
    if not isinstance(value, str) or len(value) > 40 or value.strip().isdigit():
        raise ValueError(message)
    try:
        seconds = parse_duration(value)
    except (ValueError, OverflowError):
        raise ValueError(message) from None
    if not seconds <= _LONGEST_S:
        raise ValueError("must be at most 366d")
    return Span(seconds=seconds)


def _short(text: str) -> tuple[AlertRule | None, list[AlertRuleError]]:
    """Read `EXPR for SPAN -> ACTION`, the last two left out or not."""
    if len(text) > LONGEST_TEXT + 100:
        return None, [AlertRuleError("", f"is longer than {LONGEST_TEXT} characters", "make several rules of it")]
    rest, arrow, action = text.rpartition("->")
    rest = rest if arrow else text
    split = list(_FOR.finditer(rest))
    expr = rest[: split[-1].start()] if split else rest
    written: dict[str, Any] = {"expr": expr}
    if split:
        written["for"] = rest[split[-1].end() :]
    if arrow:
        written["action"] = action.strip()
    rule, problems = read_rule(written)
    for problem in problems:
        problem.key = "" if problem.key == "expr" else problem.key
    return rule, problems


def _builtin(name: str) -> AlertRule:
    macro = MACROS[name]
    return AlertRule(
        name,
        BUILTIN[name],
        parse(BUILTIN[name]),
        severity=macro.severity,
        annotations={"summary": macro.summary},
        builtin=True,
    )


class _Reader:
    """Reads one mapping and gathers what is wrong with it."""

    def __init__(self, written: Mapping[Any, Any]) -> None:
        self._written = {str(key): value for key, value in written.items()}
        self.problems: list[AlertRuleError] = []

    def rule(self) -> AlertRule | None:
        for key in self._written:
            if key not in _KEYS:
                guess = nearest(key, _KEYS)
                hint = f"did you mean {guess}?" if guess else f"known here: {', '.join(_KEYS)}"
                self._wrong(key, "is not a known key", hint)
        tree = self._read("expr", self._expr, None)
        expr = " ".join(str(self._written.get("expr", "")).split())
        alone = _ALONE.fullmatch(expr)
        macro = MACROS.get(alone[1]) if alone else None
        labels = self._read("labels", _texts, {})
        action = self._read("action", _action, AlertAction.NOTIFY)
        severity = self._read("severity", _severity, macro.severity if macro else "warning")
        if "severity" in labels:
            severity = self._read_value("labels.severity", labels.pop("severity"), _severity, severity)
        annotations = self._read("annotations", _texts, {})
        if macro and macro.summary:
            annotations = {"summary": macro.summary, **annotations}
        if action is not AlertAction.REDUCE_LR:
            for key in ("factor", "min"):
                if key in self._written:
                    self._wrong(key, "is for action: reduce_lr alone", "remove it")
        default = read_span(macro.hold) if macro and macro.hold else Span()
        name = self._read("alert", _name, macro.name if macro and expr == macro.name else _shortened(expr))
        hold = self._read("for", read_span, default)
        keep = self._read("keep_firing_for", read_span, Span())
        repeat = self._read("repeat_interval", _interval, None)
        resolved = self._read("send_resolved", _flag, True)
        factor = self._read("factor", _number(0, 1), 0.5)
        minimum = self._read("min", _number(-1e-300, 10), 0.0)
        if tree is None:
            return None
        return AlertRule(
            name, expr, tree, hold, keep, repeat, resolved, severity, action, labels, annotations, factor, minimum
        )

    def _expr(self, value: Any) -> Expression:
        if not isinstance(value, str):
            raise ValueError("must be a condition in text, such as val_loss > 2")  # noqa: TRY004 - one kind of error
        return parse(value)

    def _read(self, key: str, reader: Callable[[Any], Any], default: Any) -> Any:
        value = self._written.get(key)
        if value is None:
            if key == "expr":
                self._wrong("expr", "is missing", "it is the condition, such as val_loss > 2")
            elif key in self._written:
                self._wrong(key, "has no value", "remove it")
            return default
        return self._read_value(key, value, reader, default)

    def _read_value(self, key: str, value: Any, reader: Callable[[Any], Any], default: Any) -> Any:
        try:
            return reader(value)
        except AlertRuleError as error:
            self.problems.append(error)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            self._wrong(key, message, hint)
        return default

    def _wrong(self, key: str, message: str, hint: str = "") -> None:
        self.problems.append(AlertRuleError(key[:60], message, hint))


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else str(type(value))
    return text if len(text) <= 40 else f"{text[:40]}..."


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _name(value: Any) -> str:
    name = value.strip() if isinstance(value, str) else ""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"must be text of one line with at most {_LONGEST_NAME} characters")
    return name


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > 50:
        raise ValueError("must be keys with texts")
    for key, text in value.items():
        if not isinstance(text, (str, int, float)) or len(str(text)) > _LONGEST_NOTE or len(str(key)) > _LONGEST_NAME:
            raise ValueError(f"must have a text of at most {_LONGEST_NOTE} characters for {_shown(key)}")
    return {str(key): str(text) for key, text in value.items()}


def _word(value: Any, known: tuple[str, ...]) -> str:
    if isinstance(value, str) and value.strip().lower() in known:
        return value.strip().lower()
    guess = nearest(value, known) if isinstance(value, str) else None
    raise ValueError(
        f"must be one of {', '.join(known)}, not {_shown(value)}" + (f"; did you mean {guess}?" if guess else "")
    )


def _severity(value: Any) -> str:
    return _word(value, SEVERITIES)


def _action(value: Any) -> AlertAction:
    return AlertAction(_word(value, tuple(AlertAction)))


def _interval(value: Any) -> Span | None:
    span = read_span(value)
    if span.seconds and span.seconds < 1:
        raise ValueError("must be at least 1s")
    return span if span != Span() else None


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {_shown(value)}")  # noqa: TRY004 - one kind of error
    return value


def _number(low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        try:
            number = math.nan if isinstance(value, (bool, bytes)) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not low < number < high:
            raise ValueError(f"must be a number above {max(low, 0.0):g} and below {high:g}, not {_shown(value)}")
        return number

    return read
