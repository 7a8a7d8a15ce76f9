"""A run that is disturbed: made, driven by one supervisor after the other, killed at, and brought to its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from parallel_ml import ParallelMLExecutor
from parallel_ml.gpu.registry import FOLDER_VARIABLE
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.orders import Order, drop_order, pending_orders
from parallel_ml.store.run_view import RunView

_DRIVER = """
import sys
from parallel_ml import ParallelMLExecutor
from parallel_ml.errors import UsageError
try:
    ParallelMLExecutor.resume(sys.argv[1]).run_parallel()
except UsageError as error:
    sys.exit(str(error))
"""
JOB = Path(__file__).with_name("job.py")
PATIENCE_S = 120.0
_HOMES = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")


class Planned(Protocol):
    """A job as a world needs to know it."""

    @property
    def name(self) -> str:
        """Its name."""

    def config(self, folder: Path) -> dict[str, Any]:
        """Return its configuration; what it writes beside the run goes to `folder`."""


@dataclass(frozen=True)
class Plan:
    """What one job does, and how often it may be tried."""

    name: str
    units: int = 10
    unit_s: float = 0.02
    fails: tuple[int, ...] = ()
    child: bool = False
    max_attempts: int = 10
    backoff: str = "10ms"
    timeout: str | None = None
    gpus: int = 0
    depends_on: tuple[str, ...] = ()

    def config(self, folder: Path) -> dict[str, Any]:
        """Return its configuration; its ledger and its lock are in `folder`."""
        plan = {
            "ledger": str(folder / f"{self.name}.ledger"),
            "lock": str(folder / f"{self.name}.lock"),
            "units": self.units,
            "unit_s": self.unit_s,
            "fails": list(self.fails),
            "child": self.child,
        }
        config: dict[str, Any] = {
            "name": self.name,
            "command": [sys.executable, "-IS", str(JOB), json.dumps(plan)],
            "retry": {"max_attempts": self.max_attempts, "backoff": self.backoff},
            "grace": "2s",
        }
        config |= {"resources": {"gpus": self.gpus}} if self.gpus else {}
        config |= {"depends_on": list(self.depends_on)} if self.depends_on else {}
        return config | ({"timeout": self.timeout} if self.timeout else {})


@dataclass(frozen=True)
class Victim:
    """A process of the run."""

    pid: int
    role: str
    job: str
    attempt: int


@dataclass
class World:
    """A run in a folder of its own.

    Attributes:
        folder: Everything of it is in here.
        plans: Its jobs.
        max_parallel: How many of them run at once; None is all.
        gpus: The cards that its jobs see.
        runs: Where the run's directory is, when not in `folder` (on a disk that is small, say).
        kills: What was killed, in order.
        orders: What was asked of it, in order.
    """

    folder: Path
    plans: Sequence[Planned]
    max_parallel: int | None = None
    runs: Path | None = None
    gpus: str = "none"
    kills: list[Victim] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    supervisor: subprocess.Popen[bytes] | None = None
    layout: RunLayout = field(init=False)

    def __post_init__(self) -> None:
        """Make the run; nothing is started."""
        home = self.folder / "home"
        home.mkdir(parents=True)
        configs = []
        for plan in self.plans:
            configs.append(self.folder / f"{plan.name}.yaml")
            configs[-1].write_text(yaml.safe_dump(plan.config(self.folder)))
        self.environ = {**os.environ, **dict.fromkeys(_HOMES, str(home)), FOLDER_VARIABLE: str(home / "leases")}
        executor = ParallelMLExecutor(
            configs,
            runs_dir=self.runs or self.folder / "runs",
            cwd=self.folder,
            gpus=self.gpus,
            max_parallel=self.max_parallel or len(self.plans),
            environ=self.environ,
            snapshot=False,
        )
        self.layout = RunLayout(Path(executor.prepare().dir))

    @property
    def is_driven(self) -> bool:
        """Whether a supervisor that was started here lives."""
        return self.supervisor is not None and self.supervisor.poll() is None

    @property
    def died_at_the_end(self) -> bool:
        """Whether the last supervisor of a run that is over was killed while it wrote what follows from the log."""
        *_, last = self.layout.log.read_text().splitlines()
        return '"supervisor left"' not in last

    @property
    def is_over(self) -> bool:
        """Whether every job has finished and nothing more is asked for."""
        return RunView(self.layout).state.finished and not pending_orders(self.layout)

    def drive(self, prelude: str = "") -> None:
        """Start a supervisor that takes the run over; `prelude` is Python that runs before it."""
        argv = [sys.executable, "-c", f"{prelude}\n{_DRIVER}", str(self.layout.dir)]
        path = {"PYTHONPATH": os.pathsep.join([str(JOB.parents[2]), os.environ.get("PYTHONPATH", "")])}
        with (self.folder / "supervisors.txt").open("ab") as stream:
            self.supervisor = subprocess.Popen(
                argv, env={**self.environ, **path}, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=stream
            )

    def order(self, order: Order) -> None:
        """Ask the run for something."""
        self.orders.append(order)
        drop_order(self.layout, order)

    def processes(self) -> list[Victim]:
        """Return the processes of the run below its supervisor, found by their environment."""
        return list(_processes(self.layout.dir.name))

    def kill(self, victim: Victim) -> bool:
        """Kill exactly this process of the run; return whether it was there."""
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(victim.pid)
            try:
                if _victim(victim.pid, self.layout.dir.name) == victim:  # and no other one of its number by now
                    self.kills.append(victim)  # before it is known: whoever looks in between must find it
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    return True
            finally:
                os.close(handle)
        return False

    def kill_supervisor(self) -> bool:
        """Kill the supervisor; return whether it lived."""
        if self.supervisor is None or not self.is_driven:
            return False
        self.supervisor.kill()
        self.supervisor.wait()
        self.kills.append(Victim(self.supervisor.pid, "supervisor", "", 0))
        return True

    def kill_everything(self) -> None:
        """Kill the supervisor and everything below it, the supervisor first: nothing is to be written any more."""
        self.kill_supervisor()
        while victims := self.processes():
            for victim in victims:
                self.kill(victim)

    def until_running(self) -> None:
        """Wait until each job has begun."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not all(self.ledger(plan.name) for plan in self.plans):
            assert time.monotonic() < give_up_at, f"they do not run: {_states(self.layout)}"
            time.sleep(0.01)

    def finish(self) -> list[str]:
        """Let the run come to its end undisturbed; return what was wrong with that."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            if self.supervisor is not None:
                try:
                    self.supervisor.wait(timeout=max(0.1, give_up_at - time.monotonic()))
                except subprocess.TimeoutExpired:
                    return [f"it did not end within {PATIENCE_S:g} s: {_states(self.layout)}"]
            if self.is_over:
                return []
            if time.monotonic() > give_up_at:
                return [f"one supervisor after the other leaves it unfinished: {_states(self.layout)}"]
            self.drive()

    def close(self) -> None:
        """End whatever of the run still lives."""
        self.kill_supervisor()
        while found := self.processes():
            for victim in found:
                with contextlib.suppress(OSError):
                    os.kill(victim.pid, signal.SIGKILL)
            time.sleep(0.01)

    def ledger(self, job: str) -> list[tuple[int, int, str]]:
        """Return what a job did: attempt, time and what, in the order in which it was done."""
        path = self.folder / f"{job}.ledger"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(attempt), int(at), what) for attempt, at, what in map(str.split, lines)]


def _states(layout: RunLayout) -> Mapping[str, str]:
    return {job.name: f"{job.state.value} after {job.attempt}" for job in RunView(layout).state.jobs.values()}


def _processes(run: str) -> Iterator[Victim]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (victim := _victim(int(entry.name), run)) is not None:
            yield victim


def _victim(pid: int, run: str) -> Victim | None:
    """Return a process as one of the run, or None where it is none."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    told = dict(part.partition(b"=")[::2] for part in environ.split(b"\0"))
    if told.get(b"PARALLEL_ML_RUN") != run.encode() or b"PARALLEL_ML_JOB" not in told:
        return None
    is_job = JOB.name.encode() in command or b"parallel_ml.training" in command
    role = "shim" if b"from_command_line" in command or b"parallel-ml-shim" in command else "job" if is_job else "child"
    return Victim(pid, role, told[b"PARALLEL_ML_JOB"].decode(), int(told[b"PARALLEL_ML_ATTEMPT"]))
