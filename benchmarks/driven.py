"""A run that a supervisor of its own drives, to measure what that one costs."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import PATIENCE_S, environment, product
from parallel_ml.core.model import JobState
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_view import RunView

START_S = 120.0
SETTLE_S = 30.0


@dataclass(frozen=True)
class Cost:
    """What a process took in a span of time: its share of a core, and its memory at the end of it."""

    share: float
    resident_mib: float


class Driver:
    """The process that drives a run."""

    def __init__(self, pid: int) -> None:
        """Keep which process it is."""
        self._pid = pid

    def cost(self, seconds: float) -> Cost:
        """Look at it for some seconds."""
        begun, used_s = time.perf_counter(), self._cpu_s()
        time.sleep(seconds)
        return Cost((self._cpu_s() - used_s) / (time.perf_counter() - begun), self._resident_mib())

    def _cpu_s(self) -> float:
        """Return the CPU seconds that it has used itself, to the nanosecond.

        /proc counts in steps of 10 ms, more than an idle supervisor uses. The clock's number is what Linux's
        clock_getcpuclockid(3) returns, which Python does not offer: the process number's complement, and 2 for exact.
        """
        return time.clock_gettime((~self._pid << 3) | 2)

    def _resident_mib(self) -> float:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self._pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0


@contextlib.contextmanager
def driven(layout: RunLayout, running: int) -> Iterator[Driver]:
    """Drive a run for the block, which begins when so many of its jobs run and what their start led to is written.

    Raises:
        RuntimeError: The supervisor ended, or it takes too long.
    """
    process = subprocess.Popen(
        product("resume", layout.dir),
        cwd=layout.dir.parent,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_until_full(layout, process, running)
        _wait_until_settled(layout)
        yield Driver(process.pid)
    finally:
        process.terminate()  # it leaves; the jobs go on, and are ended by a supervisor that does nothing else
        process.communicate(timeout=PATIENCE_S)
        subprocess.run(
            product("stop", layout.dir, "--now"),
            cwd=layout.dir.parent,
            env=environment(),
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )


def _wait_until_full(layout: RunLayout, process: subprocess.Popen[bytes], running: int) -> None:
    give_up_at = time.monotonic() + START_S
    view = RunView(layout)
    while sum(job.state is JobState.RUNNING for job in view.state.jobs.values()) < running:
        if process.poll() is not None or time.monotonic() > give_up_at:
            message = f"the supervisor has not started its jobs (exit code {process.returncode}); see {layout.log}"
            raise RuntimeError(message)
        time.sleep(0.1)
        view.refresh()


def _wait_until_settled(layout: RunLayout) -> None:
    """Wait until the cache of the state has caught up with the start of the jobs: writing it is not idling."""
    give_up_at = time.monotonic() + SETTLE_S
    while not _caught_up(layout) and time.monotonic() < give_up_at:
        time.sleep(0.1)
    time.sleep(1.0)


def _caught_up(layout: RunLayout) -> bool:
    return layout.state.exists() and layout.state.stat().st_mtime >= layout.events.stat().st_mtime
