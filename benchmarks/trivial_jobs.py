"""200 commands that do nothing, on 2 slots: what a job costs beside its work, against GNU parallel and xargs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import Figure, Skipped, compared, in_turn, product, wall_ms
from benchmarks.table import main
from parallel_ml.core.events import JobFinished, JobPlaced
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import RunLayout

ROUNDS = 3
JOBS = 200
OURS, QUEUE_ONLY = "parallel-ml run", "  of that, first placed to last finished"
GNU, XARGS = "GNU parallel -j2", "xargs -P2"


def measure() -> list[Figure]:
    """Return milliseconds a job, each of the rounds with fresh runs.

    Raises:
        Skipped: There is neither of the peers.
    """
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        peers = _peers(here)
        if not peers:
            raise Skipped("neither GNU parallel nor xargs is installed: apt-get install parallel findutils")
        configs = here / "configs"
        configs.mkdir()
        for number in range(JOBS):
            (configs / f"job{number:03d}.yaml").write_text("command: ['true']\n")
        runs = here / "runs"
        argv = product("--runs-dir", runs, "run", configs, "--max-parallel", "2", "--gpus", "none")
        cases = {
            **peers,
            OURS: lambda: wall_ms(argv, here) / JOBS,
            QUEUE_ONLY: lambda: _queue_ms(max(runs.iterdir())) / JOBS,
        }
        peer = GNU if GNU in peers else XARGS
        return compared(in_turn(cases, ROUNDS), peer, "ms a job", {OURS: "later: under 3 x"})


def _peers(here: Path) -> dict[str, Callable[[], float]]:
    """Return the peers that are installed; the others are named on standard error."""
    lines = here / "lines"
    lines.write_text("".join(f"{number}\n" for number in range(JOBS)))
    found: dict[str, Callable[[], float]] = {}
    if _is_gnu_parallel():
        gnu = ["parallel", "--will-cite", "-j2", "-a", str(lines), "true"]
        found[GNU] = lambda: wall_ms(gnu, here) / JOBS
    else:
        print("trivial_jobs: GNU parallel is not installed (apt-get install parallel): left out", file=sys.stderr)
    if shutil.which("xargs"):
        xargs = ["xargs", "-P2", "-n1", "-a", str(lines), "true"]
        found[XARGS] = lambda: wall_ms(xargs, here) / JOBS
    else:
        print("trivial_jobs: xargs is not installed: left out", file=sys.stderr)
    return found


def _is_gnu_parallel() -> bool:
    """Tell it from the program of the same name in moreutils."""
    command: Sequence[str] = ("parallel", "--version")
    if shutil.which("parallel") is None:
        return False
    return b"GNU parallel" in subprocess.run(command, capture_output=True, check=False).stdout


def _queue_ms(run: Path) -> float:
    """Return the milliseconds between a run's first placed and its last finished job."""
    records = read_records(RunLayout(run).events)[0]
    placed = [record.ts for record in records if isinstance(record.event, JobPlaced)]
    finished = [record.ts for record in records if isinstance(record.event, JobFinished)]
    if len(finished) != JOBS:
        message = f"{len(finished)} of {JOBS} jobs have finished"
        raise RuntimeError(message)
    return (max(finished) - min(placed)) * 1000


if __name__ == "__main__":
    sys.exit(main("trivial_jobs"))
