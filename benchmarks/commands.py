"""The short verbs on a run of 1,000 jobs that is being driven: `status`, `list`, `logs` of a job, `stop`.

`stop` is measured up to its answer that the job has finished already: all of its start-up, no wait for a supervisor.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.made_run import job_name, mixed_run
from benchmarks.measure import NOTHING, Figure, compared, in_turn, product, wall_ms
from benchmarks.table import main

ROUNDS = 15
JOBS = 1000
PEER = "python -c pass"
GOAL = "under 5 x"


def measure() -> list[Figure]:
    """Return what each verb costs beside an interpreter that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        big, small = here / "big", here / "small"
        with mixed_run(big, JOBS), mixed_run(small, 10):
            cases: dict[str, Callable[[], float]] = {PEER: partial(wall_ms, NOTHING, here), **_verbs(big, small, here)}
            goals = {what: GOAL for what in cases if f"{JOBS:,} jobs" in what and "list" not in what}
            return compared(in_turn(cases, ROUNDS), PEER, "ms", goals)


def _verbs(big: Path, small: Path, here: Path) -> dict[str, Callable[[], float]]:
    """Return the cases: each verb's command line in the run of many jobs, and some in one of ten."""
    many, few = f"{JOBS:,} jobs", "10 jobs"
    return {
        "parallel-ml --version": partial(wall_ms, product("--version"), here),
        f"status, {few}": partial(wall_ms, product("--runs-dir", small, "status"), here),
        f"status, {many}": partial(wall_ms, product("--runs-dir", big, "status"), here),
        f"status --json, {many}": partial(wall_ms, product("--runs-dir", big, "status", "--json"), here),
        f"list, a run of {many}": partial(wall_ms, product("--runs-dir", big, "list"), here),
        f"logs JOB, {few}": partial(wall_ms, product("--runs-dir", small, "logs", job_name(3)), here),
        f"logs JOB, {many}": partial(wall_ms, product("--runs-dir", big, "logs", job_name(3)), here),
        f"stop --job, {few}": partial(
            wall_ms, product("--runs-dir", small, "stop", "--job", job_name(3)), here, codes=(2,)
        ),
        f"stop --job, {many}": partial(
            wall_ms, product("--runs-dir", big, "stop", "--job", job_name(3)), here, codes=(2,)
        ),
    }


if __name__ == "__main__":
    sys.exit(main("commands"))
