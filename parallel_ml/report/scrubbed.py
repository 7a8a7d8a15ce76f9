"""What jobs printed and what was typed, without secrets: a report is made to be passed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from parallel_ml.core.model import Attempt
from parallel_ml.core.status import JobStatus
from parallel_ml.notify.scrub import Scrubber

_PLAIN = Scrubber()


def scrubbed_status(job: JobStatus) -> JobStatus:
    """Return a job's status with its error and what shows its failure scrubbed."""
    failure = job.failure
    if failure is not None and failure.get("evidence"):
        failure = {**failure, "evidence": _PLAIN.line(str(failure["evidence"]))}
    if job.error is None and failure is job.failure:
        return job
    return replace(job, error=scrubbed_text(job.error), failure=failure)


def scrubbed_attempt(attempt: Attempt) -> Attempt:
    """Return an attempt with its error scrubbed."""
    return attempt if attempt.error is None else replace(attempt, error=scrubbed_text(attempt.error))


def scrubbed_text(text: str | None) -> str | None:
    """Return a line scrubbed."""
    return None if text is None else _PLAIN.line(text)


def scrubbed_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `run.json` with what was typed scrubbed: as one line, since a password may follow its option."""
    argv = plan.get("argv")
    if not isinstance(argv, list):
        return dict(plan)
    typed = " ".join(map(str, argv))
    shown = _PLAIN.line(typed)
    return {**plan, "argv": argv if shown == typed else shown.split()}


def scrubbed_lines(lines: Sequence[str], env: Any) -> list[str]:
    """Return lines that a job printed scrubbed, the secrets of its own environment among them.

    Args:
        lines: The lines.
        env: `env:` of its configuration.
    """
    known = {str(name): value for name, value in env.items() if isinstance(value, str)} if isinstance(env, dict) else {}
    return Scrubber(env=known).lines(lines)
