"""Every path of a run; no path is built anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallel_ml.records import dataclass

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class AttemptLayout:
    """The files of one attempt."""

    dir: Path

    @property
    def config(self) -> Path:
        """The process's own configuration."""
        return self.dir / "resolved.yaml"

    @property
    def start(self) -> Path:
        """What the shim is to start: argument list and folders, for the owner's eyes only; never the environment."""
        return self.dir / "start.json"

    @property
    def shim(self) -> Path:
        """Who guards the attempt; it appears once, when a shim has claimed it."""
        return self.dir / "shim.json"

    @property
    def order(self) -> Path:
        """The newest command for the shim."""
        return self.dir / "order.json"

    @property
    def exit(self) -> Path:
        """How the attempt ended."""
        return self.dir / "exit.json"

    @property
    def provenance(self) -> Path:
        """Which code, packages and machine the attempt had, for the owner's eyes only."""
        return self.dir / "provenance.json"

    @property
    def samples(self) -> Path:
        """What the attempt's processes took of the machine, a JSON object a sample."""
        return self.dir / "samples.jsonl"


@dataclass(frozen=True)
class JobLayout:
    """The files of one job."""

    dir: Path

    @property
    def source(self) -> Path:
        """The user's configuration, bases merged in, variables not filled in."""
        return self.dir / "config.yaml"

    @property
    def log(self) -> Path:
        """The job's output, a JSON object a line."""
        return self.dir / "log.jsonl"

    @property
    def older_log(self) -> Path:
        """What stood in the log before, where it has a cap and was full."""
        return self.dir / "log.1.jsonl"

    @property
    def metrics(self) -> Path:
        """The job's metrics, a JSON object an epoch."""
        return self.dir / "metrics.jsonl"

    @property
    def history(self) -> Path:
        """The same metrics by name."""
        return self.dir / "history.json"

    @property
    def result(self) -> Path:
        """What the analysis found."""
        return self.dir / "result.json"

    @property
    def rates(self) -> Path:
        """What was ordered for the training's learning rate; written by the supervisor, read at each epoch."""
        return self.dir / "rates.json"

    @property
    def alerts(self) -> Path:
        """How the job's alert rules stand."""
        return self.dir / "alerts.json"

    @property
    def checkpoints(self) -> Path:
        """Where a relative checkpoint path lands, and where the full last state is."""
        return self.dir / "checkpoints"

    def attempt(self, number: int) -> AttemptLayout:
        """Return the files of attempt `number`, 1 the first."""
        return AttemptLayout(self.dir / f"attempt-{number:02d}")


@dataclass(frozen=True)
class RunLayout:
    """The files of one run."""

    dir: Path

    @property
    def plan(self) -> Path:
        """Written once: versions, arguments, seeds, hashes."""
        return self.dir / "run.json"

    @property
    def code(self) -> Path:
        """The snapshots of the user's code that the jobs run from, and what was not committed of it."""
        return self.dir / "code"

    @property
    def events(self) -> Path:
        """The truth."""
        return self.dir / "events.jsonl"

    @property
    def state(self) -> Path:
        """A cache of what the events add up to; may be deleted at will."""
        return self.dir / "state.json"

    @property
    def lock(self) -> Path:
        """Held by whoever drives the run."""
        return self.dir / "supervisor.lock"

    @property
    def log(self) -> Path:
        """The supervisor's own log."""
        return self.dir / "supervisor.log"

    @property
    def orders(self) -> Path:
        """Where others drop what they want."""
        return self.dir / "orders"

    @property
    def orders_done(self) -> Path:
        """Where orders go once they are carried out or refused."""
        return self.orders / "done"

    @property
    def outbox(self) -> Path:
        """Messages that wait to be sent."""
        return self.dir / "outbox"

    @property
    def undelivered(self) -> Path:
        """What of the messages did not arrive, for the summary."""
        return self.dir / "messages.json"

    def report(self, form: str) -> Path:
        """Return where the run's report is, as `html`, `md` or `json`."""
        return self.dir / f"report.{form}"

    @property
    def alert_rules(self) -> Path:
        """The rules that were named for the whole run."""
        return self.dir / "alerts.yaml"

    def job_paths(self, name: str, attempt: int) -> dict[str, str]:
        """Return files of a job and of one attempt as text: `status` asks for those of thousands of jobs at once."""
        job = f"{self.dir}/jobs/{name}"
        files = f"{job}/attempt-{attempt:02d}"
        return {
            "dir": job,
            "config": f"{files}/resolved.yaml",
            "log": f"{job}/log.jsonl",
            "metrics": f"{job}/metrics.jsonl",
            "result": f"{job}/result.json",
            "samples": f"{files}/samples.jsonl",
        }

    def job(self, name: str) -> JobLayout:
        """Return the files of a job."""
        return JobLayout(self.dir / "jobs" / name)
