"""What can be called in an alert rule, and what is measured of the machine: tables only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from parallel_ml.core.units import MIB, format_duration, format_size

LONGEST_WINDOW = 1000
_YEAR_S = 366 * 86400.0


class Kind(Enum):
    """What an option of a function takes, with its bounds."""

    COUNT = (1.0, float(LONGEST_WINDOW))
    AMOUNT = (0.0, 1e12)
    SECONDS = (0.0, _YEAR_S)
    MODE = (0.0, 0.0)

    @property
    def low(self) -> float:
        """The least."""
        return self.value[0]

    @property
    def high(self) -> float:
        """The most."""
        return self.value[1]


@dataclass(frozen=True)
class Function:
    """A function of the language.

    Attributes:
        signature: How it is written.
        condition: Whether it is true or false, rather than a number.
        metric: Whether it takes a metric first: `required`, `optional` or "".
        options: What follows, in order.
        k: What `k` is where it is not given.
    """

    signature: str
    condition: bool = False
    metric: str = "required"
    options: dict[str, Kind] = field(default_factory=dict)
    k: int = 1


@dataclass(frozen=True)
class Macro:
    """A condition with a name of its own; alone in a rule its brackets may be left out.

    Attributes:
        defaults: Its arguments, in order.
        text: What it stands for, with `{argument}`.
        hold: The `for` of a rule that is this alone.
    """

    name: str
    text: str
    defaults: dict[str, float] = field(default_factory=dict)
    hold: str = ""
    severity: str = "warning"
    summary: str = ""

    @property
    def signature(self) -> str:
        """How it is written."""
        return f"{self.name}({', '.join(f'{name}={value:.15g}' for name, value in self.defaults.items())})"


_BACK = {"k": Kind.COUNT}
_BETTER = {"min_delta": Kind.AMOUNT, "mode": Kind.MODE}

FUNCTIONS = {
    "rising": Function("rising(metric, k=3)", condition=True, options=_BACK, k=3),
    "falling": Function("falling(metric, k=3)", condition=True, options=_BACK, k=3),
    "plateau": Function("plateau(metric, k=10, min_delta=0, mode)", condition=True, options=_BACK | _BETTER, k=10),
    "isnan": Function("isnan(metric)", condition=True),
    "isinf": Function("isinf(metric)", condition=True),
    "nonfinite": Function("nonfinite(), nonfinite(metric)", condition=True, metric="optional"),
    "absent": Function("absent(metric)", condition=True),
    "avg": Function("avg(metric, k=5)", options=_BACK, k=5),
    "min": Function("min(metric, k=5)", options=_BACK, k=5),
    "max": Function("max(metric, k=5)", options=_BACK, k=5),
    "median": Function("median(metric, k=20)", options=_BACK, k=20),
    "slope": Function("slope(metric, k=5)", options=_BACK, k=5),
    "first": Function("first(metric)"),
    "best": Function("best(metric, mode)", options={"mode": Kind.MODE}),
    "since_best": Function("since_best(metric, min_delta=0, mode)", options=_BETTER),
    "epoch": Function("epoch()", metric=""),
    "epochs": Function("epochs()", metric=""),
    "since_epoch": Function("since_epoch()", metric=""),
    "since_log": Function("since_log()", metric=""),
    "elapsed": Function("elapsed()", metric=""),
    "usual_epoch": Function("usual_epoch(), usual_epoch(10m)", metric="", options={"default": Kind.SECONDS}, k=20),
}
"""The functions.

- `rising(m, k)`, `falling(m, k)`: each of the last k steps went up, or down.
- `plateau(m, k, min_delta, mode)`: no new best value for k epochs; `mode` is min or max, and follows from the name.
- `isnan`, `isinf`, `nonfinite`: of the newest epoch; `nonfinite()` is about every loss.
- `absent(m)`: the newest epoch does not tell it.
- `avg`, `min`, `max`, `slope`: over the last k values, not known before there are so many; `slope` is the change per
  value by least squares. `median` is known from three values on.
- `first`, `best`, `since_best` (epochs): over the whole training.
- `epoch()`, `epochs()`; in seconds: `since_epoch()`, `since_log()`, `elapsed()`, `usual_epoch()` (the median; in
  brackets what to take before the first epoch has ended).
"""

MACROS = {
    macro.name: macro
    for macro in (
        Macro("nan", "nonfinite()", severity="critical", summary="a loss is not a finite number"),
        Macro(
            "hang",
            # Without an epoch so far, five times the 12 minutes are an hour.
            "since_log() > {silence} and since_epoch() > {silence} and since_epoch() > {times} * usual_epoch(12m)",
            {"silence": 1800, "times": 5},
            summary="no epoch and no output for long; it may hang",
        ),
        Macro(
            "disk",
            "disk_free < {least}",
            {"least": 2.0 * 1024**3},
            severity="critical",
            summary="the disk is nearly full",
        ),
        Macro(
            "overfitting",
            "since_best(val_loss) >= {k} and slope(val_loss, {k}) > 0 and slope(train_loss, {k}) < 0",
            {"k": 3},
            summary="the validation loss rises while the training loss falls",
        ),
        Macro(
            "underfitting",
            "epoch() >= {k} and best(train_loss) > {share} * first(train_loss)",
            {"k": 10, "share": 0.9},
            summary="the training loss hardly falls",
        ),
        Macro(
            "slow_epoch",
            "time_per_epoch > {times} * median(time_per_epoch, 20)",
            {"times": 2},
            summary="an epoch took much longer than usual",
        ),
        Macro(
            "total_time", "elapsed() > {limit}", {"limit": 86400}, summary="the training takes longer than it should"
        ),
        Macro(
            "gpu_idle", "gpu_utilization < {percent}", {"percent": 5}, hold="10m", summary="the GPU has little to do"
        ),
        Macro(
            "gpu_over_grant",
            "gpu_memory > {times} * gpu_memory_granted",
            {"times": 1},
            hold="10s",
            summary="it takes more GPU memory than it was granted",
        ),
        Macro("gpu_hot", "gpu_temperature >= {degrees}", {"degrees": 85}, hold="1m", summary="the GPU is hot"),
    )
}

READINGS = {
    "cpu_percent": "percent of one core",
    "memory_mb": "MB",
    "memory": "bytes",
    "processes": "a number",
    "threads": "a number",
    "gpu_memory_mb": "MB",
    "gpu_memory": "bytes",
    "gpu_memory_granted": "bytes",
    "gpu_utilization": "percent",
    "gpu_temperature": "degrees Celsius",
    "energy_wh": "Wh",
    "disk_free": "bytes",
}
"""What is measured of a running job and its machine, with its unit; never a metric of a training."""
_SIGNS = {"percent": "%", "percent of one core": "%", "Wh": " Wh", "degrees Celsius": " °C"}


def shown(name: str, value: float) -> str:
    """Return a metric's or a reading's value for people, with its unit where it has one.

    >>> shown("disk_free", 13630000.0), shown("gpu_utilization", 3.0), shown("time_per_epoch", 75.0)
    ('13MiB', '3%', '1m15s')
    >>> shown("val_loss", 0.123456)
    '0.1235'
    """
    unit = READINGS.get(name, "")
    if unit in ("bytes", "MB"):
        return format_size(round(value * (MIB if unit == "MB" else 1)))
    if name == "time_per_epoch":
        return format_duration(value)
    return f"{value:.4g}{_SIGNS.get(unit, '')}"
