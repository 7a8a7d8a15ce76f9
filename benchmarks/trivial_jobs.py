"""200 and 1,000 commands that do nothing, on 2 slots: what a job costs beside its work, against other queues.

The start and the end of `run` are in it, every event is made durable, and every log is kept.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from benchmarks.measure import Figure, Skipped, compared, in_turn, product, wall_ms
from benchmarks.peers import GNU, XARGS, installed
from benchmarks.table import main
from parallel_ml.core.events import JobFinished, JobPlaced
from parallel_ml.store.files import read_json
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import RunLayout

ROUNDS = {200: 3, 1000: 2}
"""Rounds by number of jobs; the first of the 200 are preceded by one that warms up."""
IN_A_ROW = 20
OURS, QUEUE_ONLY = "parallel-ml run", "  of that, first placed to last finished"
NEXT = "from a job's end in the log to the start of the next one's process"


def measure() -> list[Figure]:
    """Return milliseconds a job, each of the rounds with fresh runs, and the milliseconds between two jobs.

    Raises:
        Skipped: There is neither of the peers.
    """
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for jobs, rounds in ROUNDS.items():
            here = Path(folder, str(jobs))
            here.mkdir()
            peers = installed(here, jobs, slow=jobs == min(ROUNDS))
            peer = next((name for name in (GNU, XARGS) if name in peers), None)
            if peer is None:
                raise Skipped("neither GNU parallel nor xargs is installed: apt-get install parallel findutils")
            values = in_turn({**peers, **_own(here, jobs)}, rounds, warm_up=int(jobs == min(ROUNDS)))
            named = {f"{what}, {jobs} jobs": samples for what, samples in values.items()}
            figures += compared(
                named, f"{peer}, {jobs} jobs", "ms a job", {f"{OURS}, {jobs} jobs": "under 3 x GNU parallel"}
            )
        return [*figures, _next_start(Path(folder))]


def _own(here: Path, jobs: int) -> dict[str, Callable[[], float]]:
    argv, runs = _run(here, jobs, 2)
    return {
        OURS: lambda: wall_ms(argv, here) / jobs,
        QUEUE_ONLY: lambda: _queue_ms(max(runs.iterdir()), jobs) / jobs,
    }


def _run(here: Path, jobs: int, slots: int) -> tuple[list[str], Path]:
    """Write configurations of `true`; return the command line that runs them, and the folder of its runs."""
    configs, runs = here / "configs", here / "runs"
    configs.mkdir(parents=True)
    for number in range(jobs):
        (configs / f"job{number:04d}.yaml").write_text("command: ['true']\n")
    argv = product("--runs-dir", runs, "run", configs, "--max-parallel", str(slots), "--gpus", "none")
    return argv, runs


def _queue_ms(run: Path, jobs: int) -> float:
    """Return the milliseconds between a run's first placed and its last finished job."""
    records = read_records(RunLayout(run).events)[0]
    placed = [record.ts for record in records if isinstance(record.event, JobPlaced)]
    finished = [record.ts for record in records if isinstance(record.event, JobFinished)]
    if len(finished) != jobs:
        message = f"{len(finished)} of {jobs} jobs have finished"
        raise RuntimeError(message)
    return (max(finished) - min(placed)) * 1000


def _next_start(folder: Path) -> Figure:
    """Measure how long a slot stands empty: one job after another on one slot."""
    here = folder / "row"
    argv, runs = _run(here, IN_A_ROW, 1)
    wall_ms(argv, here)
    layout = RunLayout(max(runs.iterdir()))
    records = read_records(layout.events)[0]
    ended = {record.event.job: record.ts for record in records if isinstance(record.event, JobFinished)}
    starts = {name: (read_json(layout.job(name).attempt(1).exit) or {})["started"] for name in ended}
    waits = [(starts[later] - ended[earlier]) * 1000 for earlier, later in pairwise(ended)]
    return Figure(NEXT, statistics.median(waits), "ms", tuple(waits), goal="20 ms")


if __name__ == "__main__":
    sys.exit(main("trivial_jobs"))
