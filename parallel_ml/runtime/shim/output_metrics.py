"""A job's metrics from what it prints, for as long as it does not report any itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from parallel_ml.runtime.shim.metrics import OUTPUT, MetricsWriter

if TYPE_CHECKING:
    from parallel_ml.runtime.shim.plain_metrics import Found, PlainReader

SETTLED_S = 1.0
"""The figures of an epoch come in several lines, those of the validation last: they are written together, this long
after the first, or when the next epoch begins."""
LONGEST_LINE = 2000
"""A longer line tells no epoch."""
SHARE, AT_ONCE_S = 0.03, 0.2
"""At most this share of the time goes into reading, beyond the seconds that may go at once: a job that floods its pipes
with epochs is not held up, and part of them is not seen."""
_KEYS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")
_KEYS_OF_THE_MACHINE = ("time_per_epoch", "memory_usage", "gpu_utilization")


class OutputMetrics:
    """Finds epochs in the job's streams and writes them; it ends with the first report of the job itself.

    Within an attempt epochs only go forward: what looks like an earlier one (the next fold of a cross-validation, say)
    is left alone. A line costs next to nothing unless it holds the word "epoch" (or, after one, " set:").
    """

    def __init__(self, metrics: MetricsWriter, *, wanted: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Watch, if that is wanted and no earlier attempt has reported."""
        self._metrics, self._clock = metrics, clock
        self._is_on = wanted and not metrics.has_reports
        self._rests: dict[str, bytes] = {}
        self._readers: dict[str, PlainReader] = {}
        self._open: dict[str, Any] | None = None
        self._changed_at: float | None = None
        self._begun_at: float | None = None
        self._spent_s = 0.0
        self._since = clock()

    def feed(self, stream: str, data: bytes) -> bool:
        """Read what a stream brought, pictures of progress bars too; return whether an epoch was written.

        Args:
            stream: Its name.
            data: Any number of lines, torn anywhere.
        """
        if not self._is_on:
            return False
        data = self._rests.get(stream, b"") + data
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        self._rests[stream] = data[end : end + LONGEST_LINE + 1]
        reader = self._readers.get(stream)
        attentive = reader is not None and reader.under_heading
        if not attentive and not _may_tell(reader, data):
            return False
        begin = self._clock()
        if self._spent_s > AT_ONCE_S + SHARE * (begin - self._since):
            self._readers.clear()  # whose headings may be old by the time that reading goes on
            return False
        try:
            return self._read(reader or self._new_reader(stream), data[:end], begin)
        except Exception:  # noqa: BLE001 - protects the training: what it prints must never end its guard
            self._is_on = False
            return False
        finally:
            self._spent_s += self._clock() - begin

    def flush(self, *, last: bool = False) -> bool:
        """Write an epoch that is settled, or at the `last` call any; return whether one was written."""
        if not self._is_on or self._changed_at is None or not (last or self._clock() - self._changed_at >= SETTLED_S):
            return False
        self._changed_at = None
        try:
            return self._open is not None and self._metrics.write(self._open, durable=False)
        except OSError:  # the log has the line; the training goes on
            return False

    def finish(self) -> bool:
        """Take what is left without a newline and write the last epoch; return whether one was written."""
        written = [self.feed(stream, b"\n") for stream in list(self._rests)]
        return self.flush(last=True) or any(written)

    def give_way(self) -> None:
        """Take back what was read from the output: the job reports its own figures."""
        if self._is_on:
            self._is_on = False
            self._metrics.drop_output()

    def _new_reader(self, stream: str) -> PlainReader:
        # Its patterns take milliseconds to build, which most jobs can be spared.
        from parallel_ml.runtime.shim.plain_metrics import PlainReader  # noqa: PLC0415

        self._readers[stream] = PlainReader()
        return self._readers[stream]

    def _read(self, reader: PlainReader, data: bytes, now: float) -> bool:
        written = False
        for line in data.replace(b"\r", b"\n").split(b"\n"):
            if len(line) <= LONGEST_LINE and (reader.under_heading or _may_tell(reader, line)):
                found = reader.read(line.decode("utf-8", errors="replace"))
                written = (found is not None and self._enter(found, now)) or written
        return written

    def _enter(self, found: Found, now: float) -> bool:
        """Add figures to the open epoch, or begin the next; return whether the one before was written."""
        written = False
        if self._open is None or found.epoch > self._open["epoch"]:
            written = self.flush(last=True)
            self._open = {
                "epoch": found.epoch,
                "epochs": found.epochs,
                **dict.fromkeys(_KEYS + _KEYS_OF_THE_MACHINE),
                "source": OUTPUT,
            }
            if self._begun_at is not None:
                self._open["time_per_epoch"] = round(now - self._begun_at, 3)
            self._begun_at = now
        elif found.epoch < self._open["epoch"]:
            return False
        line = dict(self._open)
        for name, number in found.figures.items():
            if found.certain or (line.get(name) is None and name not in line.get("nonfinite", {})):
                _put(line, name, number)
        if line != self._open and self._changed_at is None:
            self._changed_at = now
        self._open = line
        return written


def _may_tell(reader: PlainReader | None, data: bytes) -> bool:
    return b"poch" in data or b"POCH" in data or (reader is not None and reader.awaits(data))


def _put(line: dict[str, Any], name: str, number: float) -> None:
    nonfinite = {key: value for key, value in line.get("nonfinite", {}).items() if key != name}
    if not math.isfinite(number):
        nonfinite[name] = str(number)
    line[name] = number if math.isfinite(number) else None
    line.pop("nonfinite", None)
    if nonfinite:
        line["nonfinite"] = nonfinite
