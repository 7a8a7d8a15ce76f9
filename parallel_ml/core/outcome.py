"""How an attempt ended: the outcome, and what a failure looks like. Frozen data only."""

from __future__ import annotations

from enum import Enum

from parallel_ml.records import dataclass


class StrEnum(str, Enum):
    """A string enumeration whose members print as their value (the standard one needs Python 3.11)."""

    __str__ = str.__str__


class OutcomeKind(StrEnum):
    """Why an attempt ended."""

    SUCCESS = "success"
    EARLY_STOPPED = "early_stopped"
    RELEASED = "released"
    ERROR = "error"
    SIGNAL = "signal"
    OOM_GPU = "oom_gpu"
    OOM_HOST = "oom_host"
    TIMEOUT = "timeout"
    DIVERGED = "diverged"
    SPAWN_FAILED = "spawn_failed"
    STOPPED = "stopped"
    LOST = "lost"
    NEVER_STARTED = "never_started"
    GPU_LOST = "gpu_lost"
    DEPENDENCY = "dependency"


_ENDING_SIGNALS = frozenset({1, 2, 9, 15})
"""HUP, INT, KILL, TERM: what people and systems send. A crash sends others."""


@dataclass(frozen=True)
class Outcome:
    """Why an attempt ended, with the exit code or the signal's number where there is one."""

    kind: OutcomeKind
    number: int | None = None

    def __str__(self) -> str:
        """Return `error(1)`, `signal(9)` or the kind alone."""
        return self.kind.value if self.number is None else f"{self.kind.value}({self.number})"

    @property
    def from_outside(self) -> bool:
        """Whether nothing of the job is to blame: it vanished, its card did, or a stranger's signal ended it."""
        if self.kind is OutcomeKind.SIGNAL:
            return self.number in _ENDING_SIGNALS
        return self.kind in {OutcomeKind.LOST, OutcomeKind.GPU_LOST}

    @property
    def good(self) -> bool:
        """Whether the training came to its own end."""
        return self.kind in {OutcomeKind.SUCCESS, OutcomeKind.EARLY_STOPPED}


class FailureClass(StrEnum):
    """What kind of failure it was."""

    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_HOST_MEMORY = "out_of_host_memory"
    NAN = "nan"
    DATA = "data"
    CONFIGURATION = "configuration"
    IMPORT = "import"
    CUDA_MISMATCH = "cuda_mismatch"
    NCCL = "nccl"
    SEGFAULT = "segfault"
    KILLED = "killed"
    DISK = "disk"
    TIME = "time"
    START = "start"
    LOST = "lost"
    GPU_LOST = "gpu_lost"
    PROGRAM = "program"

    @property
    def words(self) -> str:
        """The class as a person says it."""
        return _WORDS[self]


_WORDS = {
    FailureClass.OUT_OF_MEMORY: "out of GPU memory",
    FailureClass.OUT_OF_HOST_MEMORY: "out of memory",
    FailureClass.NAN: "not a number",
    FailureClass.DATA: "data",
    FailureClass.CONFIGURATION: "configuration",
    FailureClass.IMPORT: "import",
    FailureClass.CUDA_MISMATCH: "CUDA mismatch",
    FailureClass.NCCL: "NCCL",
    FailureClass.SEGFAULT: "crash in native code",
    FailureClass.KILLED: "killed",
    FailureClass.DISK: "disk",
    FailureClass.TIME: "time",
    FailureClass.START: "could not start",
    FailureClass.LOST: "lost",
    FailureClass.GPU_LOST: "GPU lost",
    FailureClass.PROGRAM: "error in the program",
}


@dataclass(frozen=True)
class Diagnosis:
    """What a failure looks like.

    Attributes:
        kind: Its class.
        evidence: The line of the output, or the fact, that shows it; None where there is none.
        advice: One thing to try.
        suspected: Whether it is only likely: nothing said it outright.
    """

    kind: FailureClass
    evidence: str | None
    advice: str
    suspected: bool = False
