"""What any training script may tell and ask: `report`, `should_stop`, `checkpoint_dir`. Standard library only.

Inside a job of parallel_ml the figures reach the run's metrics, status and messages. Outside of one nothing happens, so
a script may call these always::

    from parallel_ml import checkpoint_dir, report, should_stop

    for epoch in range(1, 11):
        loss = train_one_epoch()
        report(epoch=epoch, epochs=10, loss=loss)
        if should_stop():
            save(checkpoint_dir() / "last.pt")
            break
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from pathlib import Path
from signal import SIGTERM
from typing import Any

from parallel_ml.training.channel import Channel

__all__ = ["checkpoint_dir", "declare_end", "report", "should_stop"]

_log = logging.getLogger(__name__)

_ALIASES = {"loss": "train_loss", "accuracy": "train_accuracy"}
_KNOWN = (
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "time_per_epoch",
    "memory_usage",
    "gpu_utilization",
)


def report(epoch: int | None = None, epochs: int | None = None, **metrics: object) -> None:
    """Tell the figures of one epoch.

    Args:
        epoch: 1 for the first. Told again, it replaces what was told of it and of all later ones. Left out, the figures
            are added to the epoch that was named last; in a script that never names one, each call is the next epoch.
        epochs: How many there will be.
        metrics: Numbers, or scalars of a framework, by name: `loss` and `accuracy` are those of the training data,
            `val_loss` and `val_accuracy` of the validation data; any other name is kept as it is.
    """
    _reporter.report(epoch, epochs, metrics)


def should_stop() -> bool:
    """Return whether somebody has asked this job to stop or to pause: save what is needed and leave.

    A job that asks this in its main thread is not ended by the SIGTERM that comes with such a wish, and has the time of
    `grace` to leave by itself; a SIGTERM from elsewhere still ends it, and so does one before it has asked for the
    first time. Where the program handles SIGTERM itself, that is left to it.
    """
    return _reporter.should_stop()


def checkpoint_dir() -> Path:
    """Return a directory that exists and that later attempts of this job find again; `./checkpoints` outside a job."""
    path = Path(os.environ.get("PARALLEL_ML_CHECKPOINT_DIR") or "checkpoints")
    path.mkdir(parents=True, exist_ok=True)
    return path


def declare_end(outcome: str, error: str | None = None, place: str | None = None) -> None:
    """Say why this training ends; the last word counts.

    Args:
        outcome: `success`, `early_stopped`, `oom_gpu`, `oom_host`, `diverged`, `released` or `error`.
        error: One sentence, or None.
        place: Where it happened: `prepare`, `train`, `validate` (between epochs), `evaluate` (at the end).
    """
    _reporter.declare_end(outcome, error, place)


def declare_up() -> None:
    """Say that this training has begun: what a process can hang in that was forked from an image lies behind it."""
    _reporter.declare_up()


class Reporter:
    """What this process has told so far, and the channel it tells it through."""

    def __init__(self) -> None:
        """Start with nothing told; the environment is read at the first call."""
        self._channel: Channel | None = None
        self._lock = threading.RLock()
        self._line: dict[str, Any] = {}
        self._epochs: int | None = None
        self._names_epochs = False
        self._last_time: float | None = None
        self._talking = 0
        self._term_came = False
        os.register_at_fork(after_in_child=self._start_over)

    def report(self, epoch: int | None, epochs: int | None, metrics: dict[str, object]) -> None:
        """Build the line of an epoch and send it."""
        with self._lock:
            line = self._next_line(_whole(epoch), _whole(epochs))
            _enter(line, metrics)
            self._line = line
            message = {"type": "epoch", "data": dict(line)}
        self._exchange(message)

    def should_stop(self) -> bool:
        """Ask whether to stop; from the first time on, SIGTERM is asked about before it ends the process."""
        if os.environ.get("PARALLEL_ML_SOCKET") and _in_main_thread() and signal.getsignal(SIGTERM) == signal.SIG_DFL:
            signal.signal(SIGTERM, self._on_term)
        answer = self._exchange({"type": "ask"})
        return answer is not None and answer.get("stop") is not None

    def declare_end(self, outcome: str, error: str | None, place: str | None) -> None:
        """Send the outcome."""
        self._exchange({"type": "end", "outcome": outcome, "error": error, "place": place})

    def declare_up(self) -> None:
        """Send that it has begun."""
        self._exchange({"type": "up"})

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any] | None:
        name = os.environ.get("PARALLEL_ML_SOCKET")
        if not name:
            return None
        with self._lock:
            if self._channel is None:
                self._channel = Channel(name)
        if not _in_main_thread():
            return self._channel.exchange(message)
        self._talking += 1
        try:
            answer = self._channel.exchange(message)
        finally:
            self._talking -= 1
        if self._term_came and not self._talking:
            self._on_term()
        return answer

    def _on_term(self, *_: object) -> None:
        """Go on where the guard says that the job was asked to leave; else end as if this were not here."""
        self._term_came = self._talking > 0  # in the middle of an exchange there can be no other
        if self._term_came:
            return
        answer = self._exchange({"type": "ask"})
        if answer is None or answer.get("stop") is None:
            signal.signal(SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), SIGTERM)

    def _next_line(self, epoch: int | None, epochs: int | None) -> dict[str, Any]:
        """Return the last line again where the call adds to it, else a new one."""
        self._epochs = epochs if epochs is not None else self._epochs
        if epoch is None and self._names_epochs:
            return {**self._line, "epochs": self._epochs}
        self._names_epochs = epoch is not None
        number = epoch if epoch is not None else self._line.get("epoch", 0) + 1
        line: dict[str, Any] = {"epoch": number, "epochs": self._epochs, **dict.fromkeys(_KNOWN)}
        now = time.monotonic()
        if self._last_time is not None:
            line["time_per_epoch"] = round(now - self._last_time, 3)
        self._last_time = now
        line["memory_usage"] = resident_mb()
        return line

    def _start_over(self) -> None:
        """Let a forked process, a worker that loads data say, end by SIGTERM as ever."""
        self._lock = threading.RLock()
        self._talking = 0
        if signal.getsignal(SIGTERM) == self._on_term:
            signal.signal(SIGTERM, signal.SIG_DFL)


_reporter = Reporter()


def resident_mb() -> float | None:
    """Return the memory of this process that is in RAM, in MiB; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _enter(line: dict[str, Any], metrics: dict[str, object]) -> None:
    """Put figures into a line; one that is not finite becomes None and is named under `nonfinite`."""
    nonfinite = dict(line.pop("nonfinite", {}))
    for given, value in metrics.items():
        name = _ALIASES.get(given, given)
        number = _number(given, value)
        nonfinite.pop(name, None)
        if isinstance(number, float) and not math.isfinite(number):
            nonfinite[name] = str(number)
            number = None
        line[name] = number
    if nonfinite:
        line["nonfinite"] = nonfinite


def _number(name: str, value: object) -> float | str | bool | None:
    """Return a plain number for a scalar of any framework; texts stay. What is neither is told once and left out."""
    if value is None or isinstance(value, (bool, str)):
        return value
    try:
        plain = value.item() if hasattr(value, "item") else value
        return plain if isinstance(plain, int) else float(plain)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a framework may raise anything, and a report must not end a training
        _log.warning("report(): %s is not a number and is left out (%s)", name, type(value).__name__)
        return None


def _whole(value: object) -> int | None:
    """Return a count as an int; None where it is none."""
    number = None if value is None else _number("epoch", value)
    if number is None or isinstance(number, str) or not math.isfinite(number):
        return None
    return int(number)
