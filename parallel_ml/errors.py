"""Every exception of the package.

The tree::

    ParallelMLError
    ├── ConfigError           a user's configuration is wrong (one or several ConfigProblem)
    ├── AlertRuleError        an alert rule makes no sense (key, column in its expression)
    ├── UsageError            a request cannot be carried out as it was given (unknown run, unknown job)
    ├── PlacementError        a job can never fit on this machine
    ├── BackendError          a process could not be started or reached
    ├── StoreError            a file of a run could not be read or written (path, what was being done)
    │   └── RunLocked         another supervisor drives this run
    ├── InvalidTransition     a fact arrived that the state machine has no transition for (a bug)
    └── MissingPackage        an optional package is not installed

Each class builds its message from fields: what failed, where, what to do next. Only adapters turn errors into
text and exit codes.
"""

from __future__ import annotations

from parallel_ml.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = [
    "AlertRuleError",
    "BackendError",
    "ConfigError",
    "ConfigProblem",
    "InvalidTransition",
    "MissingPackage",
    "ParallelMLError",
    "PlacementError",
    "RunLocked",
    "StoreError",
    "UsageError",
]


class ParallelMLError(Exception):
    """Base of every error that this package raises on purpose."""


@dataclass(frozen=True)
class ConfigProblem:
    """One thing that is wrong in a configuration.

    Attributes:
        file: The file as the user named it, or None where no file is concerned.
        line: 1-based line, or None where none can be named.
        key: The dotted key (`model_training.epochs`), or "" for the whole file.
        message: What is wrong, in one sentence without a full stop.
        hint: What to do about it, or "".
    """

    file: str | None
    line: int | None
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return `file:line: key: message (hint)` in one line."""
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        where = ": ".join(part for part in (place, self.key) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text}; {self.hint}" if self.hint else text


class ConfigError(ParallelMLError):
    """One or several configurations are wrong; nothing was started.

    All problems of all files come at once, in the order of the files and of their lines.
    """

    def __init__(self, problems: Iterable[ConfigProblem]) -> None:
        """Keep the problems; the message has one line for each."""
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class AlertRuleError(ParallelMLError):
    """An alert rule makes no sense.

    Attributes:
        key: The key of the rule that is wrong, or "" for the rule itself.
        message: What is wrong, in one sentence without a full stop.
        hint: What to do about it, or "".
        column: Where in the expression, from 1, or None.
    """

    def __init__(self, key: str, message: str, hint: str = "", *, column: int | None = None) -> None:
        """Say which key, what is wrong with it and where."""
        self.key, self.hint, self.column = key, hint, column
        self.message = message if column is None else f"column {column} {message}"
        where = f"{key}: " if key else ""
        super().__init__(f"{where}{self.message}; {hint}" if hint else f"{where}{self.message}")


class UsageError(ParallelMLError):
    """A request names something that is not there, or that cannot be done now."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Join what is wrong and what to do about it."""
        self.hint = hint
        super().__init__(f"{message}; {hint}" if hint else message)


class PlacementError(ParallelMLError):
    """A job asks for more than this machine could ever grant, or several do: the first of them, and the others."""

    def __init__(self, job: str, wanted: str, largest: str, hint: str = "", *, file: str = "") -> None:
        """Say which job, of which file, what it wants and the most there is."""
        self.job, self.wanted, self.largest, self.file = job, wanted, largest, file
        self.others: tuple[PlacementError, ...] = ()
        text = f"{file}: {job}: wants {wanted}, but {largest}" if file else f"{job}: wants {wanted}, but {largest}"
        super().__init__(f"{text}; {hint}" if hint else text)

    def __str__(self) -> str:
        """Return a line for each job."""
        return "\n".join([str(self.args[0]), *map(str, self.others)])


class BackendError(ParallelMLError):
    """A process of an attempt could not be started, signalled or read."""

    def __init__(self, doing: str, reason: str) -> None:
        """Say what was being done and why it failed."""
        self.doing, self.reason = doing, reason
        super().__init__(f"{doing}: {reason}")


class StoreError(ParallelMLError):
    """A file of a run could not be read or written."""

    def __init__(self, path: Path | str, doing: str, reason: str) -> None:
        """Say which file, what was being done and why it failed."""
        self.path, self.doing, self.reason = path, doing, reason
        super().__init__(f"{doing} {path}: {reason}")


class RunLocked(StoreError):
    """Another live supervisor drives this run."""

    def __init__(self, path: Path | str) -> None:
        """Name the lock that is held."""
        super().__init__(path, "taking the run's lock", "another supervisor drives this run")


class InvalidTransition(ParallelMLError):
    """A fact arrived that the state machine has no transition for; this is a bug.

    Attributes:
        story: The job's events so far, oldest first, as text.
    """

    def __init__(self, job: str, state: str, stimulus: str, story: Iterable[str] = ()) -> None:
        """Say which job, its state, what arrived, and the job's story."""
        self.job, self.state, self.stimulus, self.story = job, state, stimulus, tuple(story)
        told = "".join(f"\n  {line}" for line in self.story)
        super().__init__(f"job {job} is {state} and has no transition for {stimulus}{told}")


class MissingPackage(ParallelMLError):
    """An optional package is needed and is not installed."""

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        """Name the package, what it is for, and the extra that brings it."""
        self.package, self.purpose, self.extra = package, purpose, extra
        super().__init__(f"{purpose} needs {package}; run: pip install 'parallel-ml[{extra}]'")
