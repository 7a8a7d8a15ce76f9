"""What a supervisor costs: while nothing happens, while 100 jobs run and print a million lines, and for each job.

Three claims: two jobs that sleep and 10, 1,000 or 10,000 that wait cost the same; a load that stays the same costs the
same at its end as at its beginning; the next job costs the same however many wait behind it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.driven import driven
from benchmarks.instant import WARM_UP, supervisor_ms
from benchmarks.made_run import queued_run
from benchmarks.measure import Figure
from benchmarks.table import main
from parallel_ml.store.layout import RunLayout

COUNTS = (10, 1_000, 10_000)
LOOK_S = 5.0
SLOTS = 2
ENDED = 500
"""Jobs that are started and ended out of each number that is queued."""
RUNNING = 100
LINES_PER_S = 500
"""Of each running job: 50,000 in all, a million in the time that is looked at."""
SPANS = 4
_PRINTER = f"while true; do yes 'a line of output that says nothing' | head -n {LINES_PER_S}; sleep 1; done"


def measure() -> list[Figure]:
    """Return share of a core and memory for each number of queued jobs, compared with the smallest; then under load."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_idle(Path(folder)), *_a_job(Path(folder)), *_busy(Path(folder))]


def _idle(folder: Path) -> list[Figure]:
    """Drive runs of sleeping jobs for some seconds."""
    figures: list[Figure] = []
    for count in COUNTS:
        layout = queued_run(folder / f"idle{count}", count, ["sleep", "600"], max_parallel=SLOTS)
        with driven(layout, SLOTS) as driver:
            cost = driver.cost(LOOK_S)
        goals = ("under 2 %", "under 150 MiB") if count == max(COUNTS) else ("", "")
        figures.append(_against(figures, 0, f"CPU, {count:,} queued", cost.share * 100, "% of a core", goals[0]))
        figures.append(_against(figures, 1, f"memory, {count:,} queued", cost.resident_mib, "MiB", goals[1]))
    return figures


def _a_job(folder: Path) -> list[Figure]:
    """Start and end jobs, without any process, out of ever longer queues."""
    figures: list[Figure] = []
    for count in (ENDED + WARM_UP, *(count for count in COUNTS if count > ENDED)):
        cost_ms = supervisor_ms(folder / f"ended{count}", count, ENDED)
        figures.append(_against(figures, 0, f"CPU for a job, {count:,} queued", cost_ms, "ms", ""))
    return figures


def _busy(folder: Path) -> list[Figure]:
    """Drive jobs that print all the time; a span is looked at after the other."""
    figures: list[Figure] = []
    cards = f"sim:{RUNNING // 2}x16GiB"  # two jobs share one, so that all of them run side by side anywhere
    layout = queued_run(folder / "busy", RUNNING, ["sh", "-c", _PRINTER], max_parallel=RUNNING, gpus=cards)
    with driven(layout, RUNNING) as driver:
        for number in range(1, SPANS + 1):
            cost = driver.cost(LOOK_S)
            when = f"{RUNNING} running, {number * LOOK_S:.0f} s, {_lines_of(layout):,} lines"
            figures.append(_against(figures, 0, f"CPU, {when}", cost.share * 100, "% of a core", ""))
            figures.append(_against(figures, 1, f"memory, {when}", cost.resident_mib, "MiB", ""))
    return figures


def _lines_of(layout: RunLayout) -> int:
    """Return how many lines the jobs have in their logs by now."""
    return sum(path.read_bytes().count(b"\n") for path in layout.dir.glob("jobs/*/log.jsonl"))


def _against(figures: list[Figure], place: int, what: str, value: float, unit: str, goal: str) -> Figure:
    """Return a figure with its ratio to an earlier one, or that one itself where it has not been measured."""
    if len(figures) <= place:
        return Figure(what, value, unit, (value,), goal=goal)
    first = figures[place]
    ratio = value / first.value if first.value else None
    return Figure(what, value, unit, (value,), ratio=ratio, peer=first.what if ratio is not None else "", goal=goal)


if __name__ == "__main__":
    sys.exit(main("supervisor"))
