"""What a supervisor costs while nothing happens: two jobs sleep, 1,000 or 10,000 wait."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.made_run import queued_run
from benchmarks.measure import PATIENCE_S, Figure, environment, product
from benchmarks.table import main
from parallel_ml.core.model import JobState
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_view import RunView

COUNTS = (10, 1_000, 10_000)
LOOK_S = 5.0
SETTLE_S = 60.0
START_S = 120.0
SLOTS = 2


def measure() -> list[Figure]:
    """Return share of a core and memory for each number of queued jobs, compared with the smallest."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in COUNTS:
            share, resident_mib = _idle(Path(folder) / str(count), count)
            goals = ("under 2 %", "under 150 MiB") if count == max(COUNTS) else ("", "")
            figures.append(_against_first(figures, 0, f"CPU, {count:,} queued", share * 100, "% of a core", goals[0]))
            figures.append(_against_first(figures, 1, f"memory, {count:,} queued", resident_mib, "MiB", goals[1]))
    return figures


def _against_first(figures: list[Figure], place: int, what: str, value: float, unit: str, goal: str) -> Figure:
    if len(figures) <= place:
        return Figure(what, value, unit, (value,), goal=goal)
    first = figures[place]
    ratio = value / first.value if first.value else None
    return Figure(what, value, unit, (value,), ratio=ratio, peer=first.what if ratio is not None else "", goal=goal)


def _idle(runs_dir: Path, count: int) -> tuple[float, float]:
    """Drive a run of sleeping jobs for some seconds; return the supervisor's share of a core, and its memory in MiB."""
    layout = queued_run(runs_dir, count, ["sleep", "600"], max_parallel=SLOTS)
    driver = subprocess.Popen(
        product("resume", layout.dir),
        cwd=runs_dir,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_until_full(layout, driver)
        _wait_until_settled(layout)
        begun, used_s = time.perf_counter(), _cpu_s(driver.pid)
        time.sleep(LOOK_S)
        share = (_cpu_s(driver.pid) - used_s) / (time.perf_counter() - begun)
        return share, _resident_mib(driver.pid)
    finally:
        subprocess.run(
            product("stop", layout.dir, "--now"),
            cwd=runs_dir,
            env=environment(),
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )
        driver.terminate()
        driver.communicate(timeout=PATIENCE_S)


def _wait_until_full(layout: RunLayout, driver: subprocess.Popen[bytes]) -> None:
    """Wait until both slots run.

    Raises:
        RuntimeError: The supervisor ended, or it takes too long.
    """
    give_up_at = time.monotonic() + START_S
    view = RunView(layout)
    while sum(job.state is JobState.RUNNING for job in view.state.jobs.values()) < SLOTS:
        if driver.poll() is not None or time.monotonic() > give_up_at:
            message = f"the supervisor has not started its jobs (exit code {driver.returncode}); see {layout.log}"
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


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used itself, to the nanosecond.

    /proc counts in steps of 10 ms, more than an idle supervisor uses. The clock's number is what Linux's
    clock_getcpuclockid(3) returns, which Python does not offer: the process number's complement, and 2 for exact.
    """
    return time.clock_gettime((~pid << 3) | 2)


def _resident_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    sys.exit(main("supervisor"))
