"""What the MCP tools do, without the protocol: runs by their ids or names, configurations below one folder.

Everything here blocks on files and processes; the server calls it in threads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from parallel_ml.adapters import control
from parallel_ml.adapters.confined import confined
from parallel_ml.adapters.mcp_answers import (
    ConfigAnswer,
    LogLine,
    LogsAnswer,
    Problem,
    RunAnswer,
    RunsAnswer,
    ValidationAnswer,
)
from parallel_ml.core.status import RunStatus
from parallel_ml.errors import ConfigError, UsageError
from parallel_ml.records import dataclass
from parallel_ml.runtime.client import RunClient, list_runs
from parallel_ml.store.layout import RunLayout

DEFAULT_CONFIGS = "config"
"""The folder whose configurations run where none are named."""
LONGEST_MESSAGE = 2000
_ALMOST = 0.99
"""How much of a job its last epoch is: what it found is still to be looked at and written."""
_MOST_CHARACTERS = 200_000
"""Of all lines of one answer together; an assistant reads every one of them."""


@dataclass(frozen=True)
class Served:
    """What the tools work on.

    Attributes:
        root: The folder that configurations are in and that their relative paths are meant from; resolved.
        runs_dir: Where runs live, as a user named it; None is `$PARALLEL_ML_RUNS`, else `runs` in the root.
        environ: The environment of the jobs.
    """

    root: Path
    runs_dir: str | None
    environ: Mapping[str, str]

    def find(self, run: str | None) -> RunClient:
        """Return a run by its id, the beginning of it, or its name; the newest where none is named.

        Raises:
            UsageError: There is none, or several fit.
        """
        if run is not None and (not run or "/" in run or run in (".", "..")):
            raise UsageError(f"{run[:200]!r} is no run", "give its id or its name; list_parallel_runs has them")
        return RunClient.find(run, runs_dir=self.runs_dir, environ=self.environ, cwd=self.root)

    def start(
        self, configs: Sequence[str] | None, name: str | None, max_parallel: int | None, gpus: str | None
    ) -> RunAnswer:
        """Start a run in the background, where it outlives this process, and return how it stands.

        Raises:
            ConfigError: All that is wrong with the configurations; nothing was started.
            UsageError, PlacementError, BackendError: Nothing was started either.
        """
        from parallel_ml.runtime.executor import ParallelMLExecutor  # noqa: PLC0415 - heavy, and only for this

        executor = ParallelMLExecutor(
            self._named(configs),
            runs_dir=self.runs_dir,
            name=name,
            max_parallel=max_parallel,
            gpus=gpus,
            cwd=self.root,
            environ=self.environ,
        )
        return RunAnswer.of(executor.detach())

    def validate(self, configs: Sequence[str] | None) -> ValidationAnswer:
        """Check configurations, all that `start` checks before it starts anything."""
        from parallel_ml.config.manager import ConfigManager  # noqa: PLC0415 - heavy, and only for this

        runs_dir = self.runs_dir or self.environ.get("PARALLEL_ML_RUNS")
        try:
            manager = ConfigManager(self._named(configs), cwd=self.root, environ=self.environ)
            warnings = manager.preflight(Path(runs_dir).expanduser() if runs_dir else None)
        except ConfigError as error:
            return ValidationAnswer(ok=False, configs=[], problems=[*map(Problem.of, error.problems)], warnings=[])
        good = [_config(job.source, job.spec(place)) for place, job in enumerate(manager.jobs)]
        return ValidationAnswer(ok=True, configs=good, problems=[], warnings=list(warnings))

    def _named(self, configs: Sequence[str] | None) -> list[str]:
        return confined(configs if configs is not None else [DEFAULT_CONFIGS], self.root, self.environ)

    def list(self, most: int) -> RunsAnswer:
        """Return the newest runs."""
        return RunsAnswer.of(list_runs(self.runs_dir, environ=self.environ, cwd=self.root, brief=True), most)

    def stop(self, client: RunClient, job: str | None, *, at_once: bool) -> None:
        """Have jobs stopped."""
        control.stop(client, self.environ, job, at_once=at_once)

    def pause(self, client: RunClient, job: str | None) -> None:
        """Have jobs saved and ended, to go on later."""
        control.pause(client, self.environ, job)

    def resume(self, client: RunClient, job: str | None) -> None:
        """Let paused jobs go on."""
        control.resume(client, self.environ, job)

    def retry(self, client: RunClient, job: str | None) -> None:
        """Have failed or stopped jobs tried again."""
        control.retry(client, self.environ, job)

    def report(self, client: RunClient) -> str:
        """Return the report of a run in Markdown."""
        from parallel_ml.report.gather import gather  # noqa: PLC0415 - only for reports
        from parallel_ml.report.writing import written  # noqa: PLC0415
        from parallel_ml.runtime.run_report import language_of, secrets_known  # noqa: PLC0415

        layout = RunLayout(client.dir)
        return written(
            gather([layout], time.time(), secrets_known([layout], self.environ)),
            "md",
            language_of(layout, self.environ),
        )


def status_of(client: RunClient, job: str | None) -> RunAnswer:
    """Return how a run, or one job of it, stands.

    Raises:
        UsageError: There is no such job.
    """
    if job is not None and job not in client.job_names:
        known = ", ".join(client.job_names[:8]) + (" ..." if len(client.job_names) > 8 else "")
        raise UsageError(f"run {client.run_id} has no job {job[:200]!r}", f"its jobs: {known}")
    return RunAnswer.of(client.status(), job)


def last_lines(client: RunClient, job: str | None, most: int, *, errors: bool = False) -> LogsAnswer:
    """Return the last lines of a run's logs.

    Args:
        client: The run.
        job: One job; None is all.
        most: How many lines at most.
        errors: Of stderr, and what the supervisor says, alone.

    Raises:
        UsageError: There is no such job.
    """
    reader = client.follow_logs([job] if job is not None else None)
    kept: deque[LogLine] = deque(maxlen=most)
    seen = 0
    while records := reader.poll():
        for name, record in records:
            if not record.get("progress") and not (errors and record.get("type") == "stdout"):
                kept.append(_line(name, record))
                seen += 1
    lines = list(_that_fit(kept))[::-1]
    return LogsAnswer(run=client.run_id, lines=lines, left_out=seen - len(lines))


def progress(status: RunStatus) -> tuple[float, str]:
    """Return how many jobs are done, counting parts of the others by their epochs, and that in words."""
    done, parts = 0, 0.0
    for job in status.jobs:
        if job.state in {"completed", "failed", "stopped"}:
            done += 1
        elif job.epoch and job.epochs:
            parts += min(_ALMOST, job.epoch / job.epochs)
    running = [f"{job.name} {job.epoch}/{job.epochs}" for job in status.jobs if job.state == "running" and job.epoch]
    more = f"; epochs: {', '.join(running[:4])}" if running else ""
    return done + parts, f"{done} of {len(status.jobs)} jobs done{more}"


def _that_fit(lines: deque[LogLine]) -> Iterator[LogLine]:
    """Yield the last lines that fit into one answer, newest first."""
    room = _MOST_CHARACTERS
    for line in reversed(lines):
        room -= len(line.message) + len(line.job)
        if room < 0:
            return
        yield line


def _line(job: str, record: Mapping[str, Any]) -> LogLine:
    message = str(record.get("message"))
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[:LONGEST_MESSAGE]} ... {len(message) - LONGEST_MESSAGE} more characters"
    whole = message.encode("utf-8", "backslashreplace").decode("utf-8")
    return LogLine(job=job, timestamp=record.get("timestamp"), type=str(record.get("type")), message=whole)


def _config(source: str, spec: Any) -> ConfigAnswer:
    return ConfigAnswer(
        file=source,
        name=spec.name,
        kind=spec.kind,
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        accumulation=spec.accumulation,
        seed=spec.seed,
        depends_on=list(spec.depends_on),
    )
