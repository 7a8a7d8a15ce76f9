"""The port between the supervisor and whatever starts shims: this machine now, a cluster later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from parallel_ml.core.stimuli import Command, Stimulus
from parallel_ml.runtime.origin import Origin
from parallel_ml.store.layout import AttemptLayout


@dataclass(frozen=True)
class Launch:
    """Everything that an attempt's start needs.

    Attributes:
        plan: What goes into `start.json` (0600): `argv`, `cwd`, `grace_s`, `token`, paths.
        env: The process's whole environment. It is handed over in memory and never written down.
        origin: What the process may be forked from, or None where it must be loaded by itself.
    """

    job: str
    number: int
    files: AttemptLayout
    plan: Mapping[str, Any]
    env: Mapping[str, str]
    origin: Origin | None = None


@dataclass(frozen=True)
class AttemptRef:
    """An attempt that was started earlier, by this supervisor or by one before it."""

    job: str
    number: int
    files: AttemptLayout
    started: bool


class Backend(Protocol):
    """Starts shims, carries commands to them and reports what became of them."""

    def start(self, launch: Launch) -> None:
        """Start an attempt's shim.

        Raises:
            BackendError: It could not be started.
            StoreError: The attempt's files could not be written.
        """

    def adopt(self, refs: Sequence[AttemptRef]) -> None:
        """Watch attempts that another supervisor started."""

    def tell(self, job: str, command: Command) -> None:
        """Carry a command to the shim of a job's live attempt; one that is gone already is fine."""

    def poll(self) -> list[Stimulus]:
        """Return what has happened since the last call: `Started` and `Ended`."""

    def wait(self, timeout_s: float) -> None:
        """Sleep until something may have happened, `timeout_s` at the longest."""

    def wake(self) -> None:
        """End a `wait` at once; may be called from another thread and from a signal handler."""

    def close(self) -> None:
        """Let go of everything; what runs goes on."""
