"""What jobs printed and what was typed, without secrets: a report is made to be passed on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from parallel_ml.core.model import Attempt
from parallel_ml.core.status import JobStatus
from parallel_ml.notify.scrub import Scrubber


class Cleaner:
    """Takes secrets out of what a report shows: those that are known, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Know some secrets, those of the run's channels say: a job may print them."""
        self._secrets = tuple(secrets)
        self._scrubber = Scrubber(self._secrets)

    def status(self, job: JobStatus) -> JobStatus:
        """Return a job's status with its error and what shows its failure scrubbed."""
        failure = job.failure
        if failure is not None and failure.get("evidence"):
            failure = {**failure, "evidence": self._scrubber.line(str(failure["evidence"]))}
        if job.error is None and failure is job.failure:
            return job
        return replace(job, error=self.text(job.error), failure=failure)

    def attempt(self, attempt: Attempt) -> Attempt:
        """Return an attempt with its error scrubbed."""
        return attempt if attempt.error is None else replace(attempt, error=self.text(attempt.error))

    def text(self, text: str | None) -> str | None:
        """Return a line scrubbed."""
        return None if text is None else self._scrubber.line(text)

    def plan(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Return a `run.json` with what was typed scrubbed: as one line, since a password may follow its option."""
        argv = plan.get("argv")
        if not isinstance(argv, list):
            return dict(plan)
        typed = " ".join(map(str, argv))
        shown = self._scrubber.line(typed)
        return {**plan, "argv": argv if shown == typed else shown.split()}

    def lines(self, lines: Sequence[str], env: Any) -> list[str]:
        """Return lines that a job printed scrubbed, the secrets of its own environment among them.

        Args:
            lines: The lines.
            env: `env:` of its configuration.
        """
        told = env.items() if isinstance(env, dict) else ()
        known = {str(name): value for name, value in told if isinstance(value, str)}
        return Scrubber(self._secrets, known).lines(lines)
