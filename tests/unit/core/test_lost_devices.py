"""Why a job failed whose card was lost: from what is wrong with the card to the job's error."""

from __future__ import annotations

import pytest

from parallel_ml.core import machine as m
from parallel_ml.core import stimuli as stim
from parallel_ml.core.events import Record, StopBegun, record_from_json, record_to_json
from parallel_ml.core.model import (
    Allocation,
    Attempt,
    Device,
    GpuShare,
    Job,
    JobSpec,
    JobState,
    Machine,
    ProcessId,
    RunState,
)
from parallel_ml.core.outcome import OutcomeKind
from parallel_ml.core.recovery import ExitFacts
from parallel_ml.core.state import fold

ME = ProcessId("host", "boot", 100, 1)


def run_on_two_cards() -> RunState:
    """Return a run whose job holds both cards."""
    shares = tuple(GpuShare(index, f"GPU-{index}", 1, 0.5, 0.5) for index in (0, 1))
    attempt = Attempt(1, Allocation(0, shares), None, 1, 1.0, 2.0, process=ME, shim=ME)
    return RunState(jobs={"a": Job(JobSpec(0, "a", "a.yaml", "command", seed=1), JobState.RUNNING, (attempt,))})


def error_after(run: RunState, *stimuli: stim.Stimulus) -> str | None:
    """Return the attempt's error after what arrived and the end of its processes."""
    for number, stimulus in enumerate([*stimuli, stim.Ended("a", 1, ExitFacts(signal=15, asked="stop"))], 1):
        for event in m.decide(run, stimulus, float(number)).events:
            run = fold(run, Record(run.seq + 1, float(number), event))
    return run.jobs["a"].attempts[-1].error


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ("had Xid 79 (the GPU has fallen off the bus)", "its GPU 1 had Xid 79 (the GPU has fallen off the bus)"),
        ("", "its GPU was lost: it fell off the bus or needs a reset"),
    ],
)
def test_the_error_says_what_is_wrong_with_the_card(trouble: str, error: str) -> None:
    """With the number of the card that was lost; where nobody knows what is wrong, what it may be."""
    run = run_on_two_cards()
    cards = (Device(0, "GPU-0", "x", 1), Device(1, "GPU-1", "x", 1, lost=True, trouble=trouble))
    assert error_after(run, *m.on_lost_devices(run, Machine(cards, 2, 1))) == error


def test_a_stop_of_the_user_takes_the_place_of_the_reason() -> None:
    """The job is stopped then, and has no error."""
    run = run_on_two_cards()
    lost = stim.Stop("a", cause=OutcomeKind.GPU_LOST, reason="its GPU 0 is gone")
    assert error_after(run, lost, stim.Stop("a", "order")) is None


def test_a_log_from_before_there_were_reasons_is_read() -> None:
    """The key may lack."""
    record = Record(1, 1.0, StopBegun("a", OutcomeKind.GPU_LOST, 9.0, reason="its GPU 0 is gone"))
    line = record_to_json(record)
    assert record_from_json(line) == record
    del line["data"]["reason"]
    older = record_from_json(line).event
    assert isinstance(older, StopBegun)
    assert older.reason is None
