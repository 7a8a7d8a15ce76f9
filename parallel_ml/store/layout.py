"""Every path of a run; no path is built anywhere else."""

from __future__ import annotations

import os
from functools import cached_property, lru_cache

from parallel_ml.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class AttemptLayout:
    """The files of one attempt."""

    dir: Path

    @cached_property
    def config(self) -> Path:
        """The process's own configuration."""
        return self.dir / "resolved.yaml"

    @cached_property
    def start(self) -> Path:
        """What the shim is to start: argument list and folders, for the owner's eyes only; never the environment."""
        return self.dir / "start.json"

    @cached_property
    def shim(self) -> Path:
        """Who guards the attempt; it appears once, when a shim has claimed it."""
        return self.dir / "shim.json"

    @cached_property
    def order(self) -> Path:
        """The newest command for the shim."""
        return self.dir / "order.json"

    @cached_property
    def exit(self) -> Path:
        """How the attempt ended."""
        return self.dir / "exit.json"

    @cached_property
    def provenance(self) -> Path:
        """Which code, packages and machine the attempt had, for the owner's eyes only."""
        return self.dir / "provenance.json"

    @cached_property
    def samples(self) -> Path:
        """What the attempt's processes took of the machine, a JSON object a sample."""
        return self.dir / "samples.jsonl"


@dataclass(frozen=True)
class JobLayout:
    """The files of one job."""

    dir: Path

    @cached_property
    def source(self) -> Path:
        """The user's configuration, bases merged in, variables not filled in."""
        return self.dir / "config.yaml"

    @cached_property
    def log(self) -> Path:
        """The job's output, a JSON object a line."""
        return self.dir / "log.jsonl"

    @cached_property
    def older_log(self) -> Path:
        """What stood in the log before, where it has a cap and was full."""
        return self.dir / "log.1.jsonl"

    @cached_property
    def metrics(self) -> Path:
        """The job's metrics, a JSON object an epoch."""
        return self.dir / "metrics.jsonl"

    @cached_property
    def history(self) -> Path:
        """The same metrics by name."""
        return self.dir / "history.json"

    @cached_property
    def result(self) -> Path:
        """What the analysis found."""
        return self.dir / "result.json"

    @cached_property
    def rates(self) -> Path:
        """What was ordered for the training's learning rate; written by the supervisor, read at each epoch."""
        return self.dir / "rates.json"

    @cached_property
    def alerts(self) -> Path:
        """How the job's alert rules stand."""
        return self.dir / "alerts.json"

    @cached_property
    def checkpoints(self) -> Path:
        """Where a relative checkpoint path lands, and where the full last state is."""
        return self.dir / "checkpoints"

    def attempt(self, number: int) -> AttemptLayout:
        """Return the files of attempt `number`, 1 the first."""
        return _attempt(self.dir, number)


class RunLayout:
    """The files of one run.

    Attributes:
        root: Its directory as text: a verb that reads little does not even load `pathlib`.
    """

    def __init__(self, run_dir: Path | str) -> None:
        """Take the run's directory."""
        root = os.fspath(run_dir)
        self.root = root if root == os.path.normpath(root) else str(_path(root))

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same run's."""
        return isinstance(other, RunLayout) and self.root == other.root

    def __hash__(self) -> int:
        """Return the hash of its directory."""
        return hash(self.root)

    def __repr__(self) -> str:
        """Return it as it was made."""
        return f"RunLayout({self.root!r})"

    @cached_property
    def dir(self) -> Path:
        """Its directory."""
        return _path(self.root)

    def read_paths(self) -> dict[str, str]:
        """Return as text the files that every reader looks at."""
        names = {"plan": "run.json", "events": "events.jsonl", "state": "state.json", "lock": "supervisor.lock"}
        return {key: f"{self.root}/{name}" for key, name in (names | {"undelivered": "messages.json"}).items()}

    @cached_property
    def plan(self) -> Path:
        """Written once: versions, arguments, seeds, hashes."""
        return self.dir / "run.json"

    @cached_property
    def code(self) -> Path:
        """The snapshots of the user's code that the jobs run from, and what was not committed of it."""
        return self.dir / "code"

    @cached_property
    def events(self) -> Path:
        """The truth."""
        return self.dir / "events.jsonl"

    @cached_property
    def state(self) -> Path:
        """A cache of what the events add up to; may be deleted at will."""
        return self.dir / "state.json"

    @cached_property
    def lock(self) -> Path:
        """Held by whoever drives the run."""
        return self.dir / "supervisor.lock"

    @cached_property
    def log(self) -> Path:
        """The supervisor's own log."""
        return self.dir / "supervisor.log"

    @cached_property
    def orders(self) -> Path:
        """Where others drop what they want."""
        return self.dir / "orders"

    @cached_property
    def orders_done(self) -> Path:
        """Where orders go once they are carried out or refused."""
        return self.orders / "done"

    @cached_property
    def outbox(self) -> Path:
        """Messages that wait to be sent."""
        return self.dir / "outbox"

    @cached_property
    def undelivered(self) -> Path:
        """What of the messages did not arrive, for the summary."""
        return self.dir / "messages.json"

    def report(self, form: str) -> Path:
        """Return where the run's report is, as `html`, `md` or `json`."""
        return self.dir / f"report.{form}"

    @cached_property
    def alert_rules(self) -> Path:
        """The rules that were named for the whole run."""
        return self.dir / "alerts.yaml"

    def job_paths(self, name: str, attempt: int) -> dict[str, str]:
        """Return files of a job and of one attempt as text: `status` asks for those of thousands of jobs at once."""
        job = f"{self.root}/jobs/{name}"
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
        return _job(self.dir, name)


# The supervisor asks for the same few layouts again and again, and a path is slow to make.
@lru_cache(maxsize=256)
def _job(run: Path, name: str) -> JobLayout:
    return JobLayout(run / "jobs" / name)


@lru_cache(maxsize=256)
def _attempt(job: Path, number: int) -> AttemptLayout:
    return AttemptLayout(job / f"attempt-{number:02d}")


def _path(text: str) -> Path:
    from pathlib import Path  # noqa: PLC0415 - see `RunLayout`

    return Path(text)
