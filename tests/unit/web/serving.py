"""A server on a real loopback socket, and a run whose supervisor is the test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from parallel_ml.adapters.web.parts import Parts
from parallel_ml.adapters.web.server import listen, make_server
from parallel_ml.adapters.web.settings import ServerSettings
from parallel_ml.core import events as ev
from parallel_ml.core.model import Allocation, JobSpec, JobState, ProcessId
from parallel_ml.core.outcome import Outcome, OutcomeKind
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run

TOKEN = "a-token-of-the-tests"  # noqa: S105 - of no server that lives on
BEGAN = 1_767_268_800.0
RUN = "20260101-120000-3fa9"
_PROCESS = ProcessId("elsewhere", "boot", 1, 1)


@dataclass(frozen=True)
class Served:
    """A server that serves.

    Attributes:
        parts: What its routes share.
        client: Asks with the token.
    """

    settings: ServerSettings
    parts: Parts
    client: httpx.Client

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.settings.port


class Script:
    """A run that does what the test says."""

    def __init__(self, runs: Path, *jobs: str, run: str = RUN, configs: dict[str, str] | None = None) -> None:
        """Make a run in the folder `runs`, and hold its lock."""
        self.layout = RunLayout(runs / run)
        specs = tuple(JobSpec(place, name, f"{name}.yaml", "command", seed=7) for place, name in enumerate(jobs))
        runs.mkdir(parents=True, exist_ok=True)
        told = configs or dict.fromkeys(jobs, "command: [train]\n")
        create_run(self.layout, ev.RunCreated(run, "", specs), {"v": 1, "run": run}, told, BEGAN)
        self._store = RunStore(self.layout)
        self.tell(ev.SupervisorStarted(_PROCESS))

    def tell(self, *events: ev.Event) -> None:
        """Write events."""
        self._store.add(list(events), time.time())
        self._store.flush()

    def begin(self, job: str, attempt: int = 1) -> None:
        """Have an attempt of a job run."""
        self.tell(ev.JobPlaced(job, attempt, Allocation(0, ()), None, 1))
        self.tell(ev.AttemptStarted(job, attempt, _PROCESS, _PROCESS))

    def epoch(self, job: str, *numbers: int, **more: Any) -> None:
        """Have a job end epochs."""
        with self.layout.job(job).metrics.open("a", encoding="utf-8") as stream:
            stream.writelines(
                json.dumps({"epoch": one, "epochs": 9, "val_loss": 1 / one, **more}) + "\n" for one in numbers
            )

    def finish(self, job: str, attempt: int = 1) -> None:
        """Have a job succeed."""
        self.tell(ev.AttemptEnded(job, attempt, Outcome(OutcomeKind.SUCCESS)))
        self.tell(ev.JobFinished(job, JobState.SUCCEEDED))

    def close(self) -> None:
        """Let go of the run."""
        self._store.close()


def serving(settings: ServerSettings) -> Iterator[Served]:
    """Serve on the loopback until the next step; port 0 is any that is free."""
    listening = listen(settings.host, settings.port)
    settings = replace(settings, port=listening.getsockname()[1])
    server = make_server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    give_up_at = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < give_up_at, "the server did not start"
        time.sleep(0.005)
    base = f"http://127.0.0.1:{settings.port}"
    try:
        with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as client:
            yield Served(settings, server.config.app.state.parts, client)  # type: ignore[union-attr]
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


def settings_in(root: Path, **more: Any) -> ServerSettings:
    """Return the settings of a server over a folder."""
    options = {"runs_dir": str(root / "runs"), "environ": {"HOME": str(root), "PATH": "/usr/bin:/bin"}, **more}
    return ServerSettings(root=root.resolve(), token=TOKEN, **options)
