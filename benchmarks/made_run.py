"""Runs of many jobs, made by the store itself, event by event, as a supervisor would."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from parallel_ml.core import events as ev
from parallel_ml.core.model import Allocation, JobSpec, JobState, Machine, ProcessId
from parallel_ml.core.outcome import Outcome, OutcomeKind
from parallel_ml.store.identity import identify
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run, new_run_id

FINISHED_SHARE = 0.6
EPOCHS = 5


def job_name(number: int) -> str:
    """Return the name of a job by its place in the run."""
    return f"job{number:05d}"


def queued_run(
    runs_dir: Path, count: int, command: list[str], *, max_parallel: int = 2, gpus: str = "none"
) -> RunLayout:
    """Make a run of `count` own programs, all of them queued, for the cards that a word for `--gpus` names."""
    runs_dir.mkdir(parents=True, exist_ok=True)
    now = time.time()
    layout = RunLayout(runs_dir / new_run_id(now))
    specs = tuple(JobSpec(n, job_name(n), f"{job_name(n)}.yaml", "command", seed=n) for n in range(count))
    plan = {"v": 1, "run": layout.dir.name, "name": "", "created": now, "cwd": str(runs_dir), "gpus": gpus}
    text = f"command: {json.dumps(command)}\n"
    created = ev.RunCreated(layout.dir.name, "", specs, max_parallel)
    create_run(layout, created, plan, {spec.name: text for spec in specs}, now)
    return layout


@contextlib.contextmanager
def mixed_run(runs_dir: Path, count: int) -> Iterator[RunLayout]:
    """Make a run, most of its jobs finished, two running, the others queued; driven by this process for the block."""
    layout = queued_run(runs_dir, count, ["true"])
    me = identify()
    if me is None:
        message = "/proc does not know this process"
        raise RuntimeError(message)
    store = RunStore(layout)
    try:
        store.add([ev.SupervisorStarted(me), ev.MachineSeen(Machine((), 4, 8 << 30))], time.time())
        finished = int(count * FINISHED_SHARE)
        for number in range(finished + 2):
            _start(store, layout, number, me)
            if number < finished:
                _finish(store, layout, number)
        store.flush()
        store.snapshot(0.0, at_once=True)
        yield layout
    finally:
        store.close()


def _start(store: RunStore, layout: RunLayout, number: int, process: ProcessId) -> None:
    name = job_name(number)
    store.add([ev.JobPlaced(name, 1, Allocation(number, cpus=2), 32, 1)], time.time())
    store.add([ev.AttemptStarted(name, 1, process, process)], time.time())
    points = ({"epoch": epoch, "epochs": EPOCHS, "loss": 1 / epoch, "accuracy": 0.9} for epoch in range(1, EPOCHS + 1))
    layout.job(name).metrics.write_text("".join(json.dumps(point) + "\n" for point in points))
    line = {"timestamp": "2026-01-01T00:00:00.000000+00:00", "process_id": number, "pid": 1, "message": "hello"}
    layout.job(name).log.write_text(json.dumps({**line, "type": "stdout"}) + "\n")


def _finish(store: RunStore, layout: RunLayout, number: int) -> None:
    name = job_name(number)
    layout.job(name).result.write_text(json.dumps({"test_accuracy": 0.9, "best_epoch": EPOCHS}))
    ended = ev.AttemptEnded(name, 1, Outcome(OutcomeKind.SUCCESS, 0))
    store.add([ended, ev.JobFinished(name, JobState.SUCCEEDED)], time.time())
