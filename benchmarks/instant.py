"""A back end whose jobs end as soon as they start, so that what is left is what the supervisor itself costs a job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.made_run import queued_run
from parallel_ml.core.model import Job
from parallel_ml.core.recovery import ExitFacts
from parallel_ml.core.stimuli import Command, Ended, Started, Stimulus
from parallel_ml.gpu import GPUManager
from parallel_ml.gpu.leases import Leases
from parallel_ml.monitor.process_monitor import ProcessMonitor
from parallel_ml.runtime.backend import AttemptRef, Launch
from parallel_ml.runtime.grants import Grants
from parallel_ml.runtime.log import open_log
from parallel_ml.runtime.prepare import AttemptPreparer
from parallel_ml.runtime.supervisor import Supervisor
from parallel_ml.store.identity import identify
from parallel_ml.store.run_store import RunStore

WARM_UP = 10
"""Jobs that are not counted: the first turn looks at all that there is."""


class InstantBackend:
    """Starts nothing, and says of each job that it ran and succeeded.

    Attributes:
        supervisor: Told to leave after the last job.
    """

    supervisor: Supervisor

    def __init__(self, jobs: int) -> None:
        """Take so many jobs, and those of the warm-up, and no more."""
        me = identify()
        if me is None:
            message = "/proc does not know this process"
            raise RuntimeError(message)
        self.me, self._jobs, self._started = me, jobs, 0
        self._news: list[Stimulus] = []
        self._begun_s = self._ended_s = 0.0

    def start(self, launch: Launch) -> None:
        """Have the job ended."""
        started = Started(launch.job, launch.number, self.me, self.me, time.time())
        self._news += [started, Ended(launch.job, launch.number, ExitFacts(code=0))]
        self._started += 1
        if self._started == WARM_UP:
            self._begun_s = time.thread_time()
        elif self._started == WARM_UP + self._jobs:
            self._ended_s = time.thread_time()
            self.supervisor.leave("enough was measured")

    @property
    def ms_a_job(self) -> float:
        """The CPU milliseconds of the supervisor's thread from one start of a job to the next, the mean."""
        return (self._ended_s - self._begun_s) / self._jobs * 1000

    def adopt(self, refs: Sequence[AttemptRef]) -> None:
        """There is nothing to watch."""

    def tell(self, job: str, command: Command) -> None:
        """There is nobody to tell."""

    def poll(self) -> list[Stimulus]:
        """Return what has been told of jobs."""
        news, self._news = self._news, []
        return news

    def wait(self, timeout_s: float) -> None:
        """Sleep where nothing is there to be told."""
        if not self._news:
            time.sleep(timeout_s)

    def wake(self) -> None:
        """It never sleeps for long."""

    def close(self) -> None:
        """There is nothing to let go of."""


class _Unprepared(AttemptPreparer):
    def prepare(self, job: Job) -> Launch:
        """Return a launch of which no file is written."""
        number = len(job.attempts)
        return Launch(job.name, number, self._layout.job(job.name).attempt(number), {}, {})


def supervisor_ms(runs_dir: Path, queued: int, jobs: int) -> float:
    """Return the CPU milliseconds of the supervisor's thread for each of `jobs` jobs, out of `queued` ones."""
    layout = queued_run(runs_dir, queued, ["true"])
    store, gpus, backend = RunStore(layout), GPUManager.from_spec("none"), InstantBackend(jobs)
    try:
        with open_log(layout.log) as log:
            grants = Grants(gpus, Leases(layout.dir.name, runs_dir / "leases"), layout, backend.me)
            preparer = _Unprepared(layout, {}, gpus, {})
            monitor = ProcessMonitor(layout.dir, keep_history=True)
            backend.supervisor = Supervisor(store, grants, backend, preparer, monitor, log)
            backend.supervisor.drive()
        return backend.ms_a_job
    finally:
        store.close()
