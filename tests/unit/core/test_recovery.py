"""From the facts of an exit to its outcome."""

from __future__ import annotations

import pytest

from parallel_ml.core.recovery import ExitFacts, classify

CASES = [
    (ExitFacts(code=0), "success", None),
    (ExitFacts(code=0, said="early_stopped"), "early_stopped", None),
    (ExitFacts(code=0, asked="stop"), "stopped", None),
    (ExitFacts(code=0, asked="stop", said="success"), "success", None),
    (ExitFacts(code=0, asked="pause"), "released", None),
    (ExitFacts(code=1, error="ValueError: no"), "error(1)", "ValueError: no"),
    (ExitFacts(code=3), "error(3)", "it ended with exit code 3"),
    (ExitFacts(code=1, said="oom_gpu", error="OOM when allocating"), "oom_gpu", "OOM when allocating"),
    (ExitFacts(signal=9), "signal(9)", "it was ended by signal 9 (SIGKILL)"),
    (ExitFacts(signal=11, error="x"), "signal(11)", "it was ended by signal 11 (SIGSEGV); last error line: x"),
    (ExitFacts(signal=9, oom_kill=True), "oom_host", "the system ran out of memory and killed it"),
    (ExitFacts(signal=9, asked="stop"), "stopped", None),
    (ExitFacts(code=75, said="released", asked="pause"), "released", None),
    (ExitFacts(code=75, said="released"), "released", None),
    (ExitFacts(never_started=True), "never_started", "its supervisor ended before it was started"),
    (ExitFacts(spawn_error="cannot start x: No such file"), "spawn_failed", "cannot start x: No such file"),
    (ExitFacts(lost=True), "lost", "its process vanished without a record"),
]


@pytest.mark.parametrize(("facts", "outcome", "error"), CASES)
def test_an_exit_is_classified(facts: ExitFacts, outcome: str, error: str | None) -> None:
    """One row a kind of end."""
    found, text = classify(facts)
    assert (str(found), text) == (outcome, error)
