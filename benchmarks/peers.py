"""Other queues that can run commands that do nothing on 2 slots: those on PATH; the rest is named and left out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import wall_ms

GNU, XARGS, SPOOLER = "GNU parallel -j2", "xargs -P2", "task-spooler -S 2"
SIMPLE, GPUSCHED = "simple-gpu-scheduler, 2 cards", "gpusched, 2 cards, poll 0.05 s"
_SPOOLER = """
tsp -S 2
for _ in $(seq "$1"); do tsp true >"$TMPDIR/last"; done
tsp -w
while [ "$(tsp -l | grep -c -e running -e queued)" != 0 ]; do tsp -w; done
tsp -K
"""
"""The last one queued need not be the last to end. Its output is kept, as ours is."""


def installed(here: Path, jobs: int, *, slow: bool = True) -> dict[str, Callable[[], float]]:
    """Return the peers that are on PATH: functions that run `jobs` times `true` and return milliseconds a job.

    Args:
        here: A folder for their files.
        jobs: How many.
        slow: Whether those take part, too, that look for free slots only now and then.
    """
    lines, commands = here / f"lines-{jobs}", here / f"commands-{jobs}"
    lines.write_text("".join(f"{number}\n" for number in range(jobs)))
    commands.write_text("true\n" * jobs)
    spool = here / "spool"
    spool.mkdir(exist_ok=True)
    spooler = {"TMPDIR": str(spool), "TS_SOCKET": str(here / "spooler")}
    simple = f"simple_gpu_scheduler --gpus 0 1 <{commands}"
    gpusched = ["gpusched", "--sim", "2", "--poll", "0.05", "--fresh", "--log-dir", str(spool), str(commands)]
    known = [
        (GNU, _is_gnu_parallel(), "parallel", ["parallel", "--will-cite", "-j2", "-a", str(lines), "true"], {}),
        (XARGS, _is_there("xargs"), "findutils", ["xargs", "-P2", "-n1", "-a", str(lines), "true"], {}),
        (SPOOLER, _is_there("tsp"), "task-spooler", ["sh", "-c", _SPOOLER, "sh", str(jobs)], spooler),
        (SIMPLE, _is_there("simple_gpu_scheduler"), "simple-gpu-scheduler", ["sh", "-c", simple], {}),
        (GPUSCHED, slow and _is_there("gpusched"), "gpusched", gpusched, {}),
    ]
    found: dict[str, Callable[[], float]] = {}
    for name, there, package, argv, env in known:
        if there:
            found[name] = lambda argv=argv, env=env: wall_ms(argv, here, env=env) / jobs  # type: ignore[misc]
        elif slow:
            print(f"trivial_jobs: {package} is not installed: left out", file=sys.stderr)
    return found


def _is_there(program: str) -> bool:
    return shutil.which(program) is not None


def _is_gnu_parallel() -> bool:
    """Tell it from the program of the same name in moreutils."""
    command = ["parallel", "--version"]
    return _is_there("parallel") and b"GNU parallel" in subprocess.run(command, capture_output=True, check=False).stdout
