"""How long a card stands idle between two jobs, on the stand-in for NVIDIA's library that the tests use.

From the last moment of a job to the first of the next; and from the end of a program that held the card's memory to
the first moment of the job that waited for it, of which the part since the supervisor saw it free is a line of its own.
The stand-in answers at once: what a real driver takes to free memory and to answer comes on top.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import yaml

from benchmarks.measure import PATIENCE_S, Figure, Skipped, environment, product
from benchmarks.table import main
from parallel_ml.core.events import JobPlaced
from parallel_ml.core.units import GIB
from parallel_ml.errors import StoreError
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_view import RunView
from tests.nvml.standin import Card, StandIn, Use, build

ROUNDS = 12
JOBS = 13
GOAL = "under 500"
_LONGEST_PHASE_S = 1.0
"""The program ends at a random moment between two looks of the supervisor."""
_STAMP = "date +%s.%N"


def measure() -> list[Figure]:
    """Return milliseconds.

    Raises:
        Skipped: There is no C compiler to build the stand-in with.
    """
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        library = build(here)
        if library is None:
            raise Skipped("no C compiler to build the stand-in for NVIDIA's library: apt-get install gcc")
        stand_in = StandIn(library, here)
        stand_in.show(Card("GPU-a"))
        between = _between_jobs(stand_in, here)
        vanished, seen = zip(*(_after_a_program(stand_in, here, number) for number in range(ROUNDS)), strict=True)
    return [
        _figure("end of a job to start of the next", between, GOAL),
        _figure("end of a program to start of the job that waited", vanished, ""),
        _figure("  of that, since its memory was seen free", seen, GOAL),
    ]


def _figure(what: str, seconds: tuple[float, ...], goal: str) -> Figure:
    samples = tuple(one * 1000 for one in seconds)
    return Figure(what, statistics.median(samples), "ms", samples, goal=goal)


def _between_jobs(stand_in: StandIn, here: Path) -> tuple[float, ...]:
    """Run jobs one after another, each with all of the card."""
    configs = here / "in_turn"
    configs.mkdir()
    for number in range(JOBS):
        _config(configs / f"job{number:02d}.yaml", f"{_STAMP}; sleep 0.1; {_STAMP}", exclusive=True)
    with _running(stand_in, here / "runs-in-turn", configs) as run:
        _finish(run)
    [layout] = _runs(here / "runs-in-turn")
    stamps = sorted(_stamps(layout, f"job{number:02d}") for number in range(JOBS))
    return tuple(after[0] - before[1] for before, after in pairwise(stamps))


def _after_a_program(stand_in: StandIn, here: Path, number: int) -> tuple[float, float]:
    """Free the memory that a job waits for; return the seconds to its start, from the end and from its being seen."""
    config = here / f"waits{number}.yaml"
    _config(config, _STAMP, gpu_memory="12GiB")
    runs = here / f"runs{number}"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as program:
        stand_in.put(Use("GPU-a", program.pid, 10 * GIB))
        with _running(stand_in, runs, config) as run:
            _until(lambda: _waits(runs), run)
            time.sleep(random.uniform(0, _LONGEST_PHASE_S))  # noqa: S311 - a phase, no secret
            program.kill()
            program.wait()
            ended = time.time()
            _finish(run)
    [layout] = _runs(runs)
    started = _stamps(layout, config.stem)[0]
    [placed] = [record.ts for record in read_records(layout.events)[0] if isinstance(record.event, JobPlaced)]
    return started - ended, started - placed


def _config(path: Path, program: str, **resources: object) -> None:
    path.write_text(yaml.safe_dump({"command": ["sh", "-c", program], "resources": resources}), encoding="utf-8")


@contextmanager
def _running(stand_in: StandIn, runs: Path, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run configurations on the stand-in's card; end the run with the block."""
    env = {**environment(), **stand_in.env, "XDG_RUNTIME_DIR": str(stand_in.folder)}
    env.pop("CUDA_VISIBLE_DEVICES", None)
    env.pop("NVML_STUB_LOG", None)
    argv = product("--runs-dir", runs, "run", config)
    with subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        try:
            yield run
        finally:
            run.terminate()


def _finish(run: subprocess.Popen[bytes]) -> None:
    if run.wait(timeout=PATIENCE_S) != 0:
        message = f"the run ended with {run.returncode}"
        raise RuntimeError(message)


def _until(holds: Callable[[], bool], run: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds():
        if run.poll() is not None or time.monotonic() > give_up_at:
            message = "the job did not come to wait"
            raise RuntimeError(message)
        time.sleep(0.01)


def _waits(runs: Path) -> bool:
    """Return whether the run's only job waits for memory."""
    try:
        return any("held by other programs" in (RunView(one).status().jobs[0].waiting or "") for one in _runs(runs))
    except StoreError:  # its directory is being made
        return False


def _runs(runs: Path) -> list[RunLayout]:
    return [RunLayout(Path(entry)) for entry in os.scandir(runs) if entry.name[0] != "."] if runs.exists() else []


def _stamps(layout: RunLayout, job: str) -> tuple[float, ...]:
    """Return the times that a job has printed."""
    lines = map(json.loads, layout.job(job).log.read_text(encoding="utf-8").splitlines())
    return tuple(float(line["message"]) for line in lines if line["type"] == "stdout")


if __name__ == "__main__":
    sys.exit(main("refill"))
