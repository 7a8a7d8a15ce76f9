"""Dataclasses to JSON and back."""

from __future__ import annotations

import json

from parallel_ml.core.codec import decode, encode
from parallel_ml.core.model import Allocation, Attempt, GpuShare, Job, JobSpec, JobState, RunState
from parallel_ml.core.outcome import Outcome, OutcomeKind

SHARE = GpuShare(0, "GPU-1", 4 << 30, 0.5, 0.5)
ATTEMPT = Attempt(1, Allocation(0, (SHARE,), cpus=2), 32, 2, placed_at=1.5, outcome=Outcome(OutcomeKind.ERROR, 3))
STATE = RunState(
    run_id="r",
    jobs={"a": Job(JobSpec(0, "a", "a.yaml", "training", 7), JobState.FAILED, (ATTEMPT,))},
    orders_done={"o"},
)


def test_a_state_survives_json() -> None:
    """Tuples, sets, enumerations and optional parts come back as they were."""
    assert decode(RunState, json.loads(json.dumps(encode(STATE)))) == STATE


def test_what_a_newer_version_added_is_ignored_and_what_an_older_did_not_write_has_its_default() -> None:
    """Files outlive versions."""
    assert decode(Outcome, {"kind": "error", "colour": "red"}) == Outcome(OutcomeKind.ERROR)
