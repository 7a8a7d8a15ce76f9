"""What a training takes while it runs: CPU and memory of its tree of processes, and its part of the cards.

The tree is the process that trains and all below it (data workers). In a notebook that is the whole kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parallel_ml.core.units import MIB
from parallel_ml.monitor.samples import TreeUse, card_use, tree_use

if TYPE_CHECKING:
    from parallel_ml.gpu.sample import DeviceSample
    from parallel_ml.gpu.source import DeviceSource

LEAST_SPAN_S = 0.5
"""CPU time is counted in hundredths of a second: over a shorter span a percentage is noise."""


@dataclass
class Course:
    """The mean and the peak of what was sampled."""

    total: float = 0.0
    count: int = 0
    peak: float | None = None

    def take(self, value: float | None) -> None:
        """Take a sample; None is not known, and counts for nothing."""
        if value is not None:
            self.total, self.count = self.total + value, self.count + 1
            self.peak = value if self.peak is None else max(self.peak, value)

    @property
    def mean(self) -> float | None:
        """The mean, or None where nothing was known."""
        return round(self.total / self.count, 1) if self.count else None


def this_machine() -> DeviceSource:
    """Return the cards of this machine."""
    from parallel_ml.gpu.source import detect_devices  # noqa: PLC0415 - NVML is loaded when a training is sampled

    return detect_devices()


class ResourceSampler:
    """Samples one training. Not for two threads at once."""

    def __init__(
        self,
        pid: int,
        detect: Callable[[], DeviceSource] = this_machine,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sample nothing yet.

        Args:
            pid: The process that trains.
            detect: Returns the cards; called at the first sample, and what it returns is closed by `close`.
            now: A clock that nobody sets, in seconds.
        """
        self._pid, self._detect, self._now = pid, detect, now
        self._source: DeviceSource | None = None
        self._gpus: int | None = None
        self._began_at = self._at = now()
        self._first_cpu_s: float | None = None
        self._cpu_s = self._last_cpu_s = 0.0
        self._cpu, self._memory, self._gpu_memory, self._gpu_use = Course(), Course(), Course(), Course()

    def take(self) -> None:
        """Take a sample; a process that is gone leaves none.

        Raises:
            Exception: Whatever the operating system or NVML's library does not allow.
        """
        use = whole_tree(self._pid)
        if use is None:
            return
        now = self._now()
        if self._first_cpu_s is None:
            self._first_cpu_s = self._last_cpu_s = use.cpu_s
            self._began_at = self._at = now
        self._cpu_s = max(self._cpu_s, use.cpu_s)
        if now - self._at >= LEAST_SPAN_S:
            self._cpu.take(max(0.0, round(100 * (use.cpu_s - self._last_cpu_s) / (now - self._at), 1)))
            self._at, self._last_cpu_s = now, use.cpu_s
        self._memory.take(round(use.memory_bytes / MIB, 1))
        if self._source is None:
            self._source = self._detect()
        cards = self._source.samples()
        self._gpus = len(cards)
        memory_mb, percent = card_use(cards, use.pids)
        self._gpu_memory.take(memory_mb)
        self._gpu_use.take(percent if percent is not None else _of_whole_cards(cards, use))

    def summary(self) -> dict[str, float | None]:
        """Return means and peaks: percent of one core, MiB, percent of the cards' time; None is not known."""
        cpu_s = None if self._first_cpu_s is None else self._cpu_s - self._first_cpu_s
        span_s = self._now() - self._began_at
        mean = round(100 * cpu_s / span_s, 1) if cpu_s is not None and span_s >= LEAST_SPAN_S else None
        return {
            "gpus": self._gpus,
            "cpu_seconds": None if cpu_s is None else round(cpu_s, 2),
            "cpu_mean_percent": mean,
            "cpu_peak_percent": self._cpu.peak,
            "memory_mean_mb": self._memory.mean,
            "memory_peak_mb": self._memory.peak,
            "gpu_memory_mean_mb": self._gpu_memory.mean,
            "gpu_memory_peak_mb": self._gpu_memory.peak,
            "gpu_utilization_mean": self._gpu_use.mean,
            "gpu_utilization_peak": self._gpu_use.peak,
        }

    def close(self) -> None:
        """Give the cards back."""
        if self._source is not None:
            self._source.close()
            self._source = None


def whole_tree(pid: int) -> TreeUse | None:
    """Return what a process and all below it take now; None where it is gone."""
    import psutil  # noqa: PLC0415 - only where something is sampled

    below = tree_use(pid)
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times, rss, threads = process.cpu_times(), process.memory_info().rss, process.num_threads()
    except (OSError, psutil.Error):
        return None
    own_cpu_s = times.user + times.system
    if below is None:
        return TreeUse(own_cpu_s, rss, threads, frozenset({pid}))
    return TreeUse(
        below.cpu_s + own_cpu_s, below.memory_bytes + rss, below.threads + threads, below.pids | frozenset({pid})
    )


def _of_whole_cards(cards: Sequence[DeviceSample], use: TreeUse) -> float | None:
    """Return how busy the cards are that the training is on, by whomever: where no process is told apart."""
    busy = [
        card.utilization_percent
        for card in cards
        if card.utilization_percent is not None and any(one.pid in use.pids for one in card.processes or ())
    ]
    return sum(busy) if busy else None
