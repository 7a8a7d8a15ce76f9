"""What the state machine takes and gives: stimuli for one job, and decisions with their effects. Frozen data only."""

from __future__ import annotations

from parallel_ml.core import events as ev
from parallel_ml.core.model import Allocation, JobState, ProcessId
from parallel_ml.core.outcome import OutcomeKind, StrEnum
from parallel_ml.core.recovery import ExitFacts
from parallel_ml.records import dataclass


class Command(StrEnum):
    """What a shim is told to do with its process tree."""

    STOP = "stop"
    PAUSE = "pause"
    FREEZE = "freeze"
    THAW = "thaw"
    KILL = "kill"


@dataclass(frozen=True)
class Stimulus:
    """Something that arrived for one job."""

    job: str


@dataclass(frozen=True)
class Placed(Stimulus):
    """There is a place for it now."""

    allocation: Allocation
    batch_size: int | None
    accumulation: int
    evaluation_batch_size: int | None = None


@dataclass(frozen=True)
class Started(Stimulus):
    """The attempt's process runs."""

    attempt: int
    process: ProcessId
    shim: ProcessId
    at: float | None = None


@dataclass(frozen=True)
class Ended(Stimulus):
    """The attempt's process tree is gone."""

    attempt: int
    facts: ExitFacts


@dataclass(frozen=True)
class Held(Stimulus):
    """A program that cannot save and leave was held in memory instead when it was told to pause."""

    attempt: int


@dataclass(frozen=True)
class BackoffOver(Stimulus):
    """The wait before the next attempt is over."""


@dataclass(frozen=True)
class GraceOver(Stimulus):
    """It was told to end and did not."""


@dataclass(frozen=True)
class DependencyEnded(Stimulus):
    """A job that it depends on will not succeed."""

    dependency: str
    state: JobState


@dataclass(frozen=True)
class CommandStimulus(Stimulus):
    """Somebody wants something; `order` is the order's id, None for an inner cause.

    `alert` is the id of what an alert ordered: after a crash that comes again, and is taken once.
    """

    order: str | None = None
    alert: str | None = None


@dataclass(frozen=True)
class Stop(CommandStimulus):
    """End it; `at_once` without a grace."""

    cause: OutcomeKind = OutcomeKind.STOPPED
    at_once: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class Pause(CommandStimulus):
    """Save and free everything, or with `freeze` hold it in memory."""

    freeze: bool = False


@dataclass(frozen=True)
class Resume(CommandStimulus):
    """Go on after a pause."""


@dataclass(frozen=True)
class CutRate(CommandStimulus):
    """Lower the learning rate of a built-in training from an epoch on, counted from 1."""

    from_epoch: int = 1
    factor: float = 0.5
    least: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Retry(CommandStimulus):
    """Try a failed or stopped job again."""


@dataclass(frozen=True)
class StartAttempt:
    """Start the newest attempt of the job."""

    job: str
    attempt: int


@dataclass(frozen=True)
class TellShim:
    """Give the attempt's shim a command."""

    job: str
    attempt: int
    command: Command


@dataclass(frozen=True)
class WriteRates:
    """Tell the job's training, by a file, what was ordered for its learning rate."""

    job: str


Effect = StartAttempt | TellShim | WriteRates


@dataclass(frozen=True)
class Decision:
    """The events to log first, and the effects to carry out after they are on disk."""

    events: tuple[ev.Event, ...] = ()
    effects: tuple[Effect, ...] = ()
