"""The out-of-memory ladder, step by step, through the state machine and the placement."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_ml.core import machine as m
from parallel_ml.core import stimuli as stim
from parallel_ml.core.events import Record, RunCreated, record_from_json, record_to_json
from parallel_ml.core.ladder import MAX_STEPS, halved
from parallel_ml.core.model import Device, Job, JobSpec, JobState, Machine, ProcessId, Resources, RunState
from parallel_ml.core.placement import place
from parallel_ml.core.recovery import ExitFacts
from parallel_ml.core.state import fold
from parallel_ml.core.units import GIB

ME = ProcessId("host", "boot", 100, 1)
CARD = Device(0, "GPU-0", "x", 16 * GIB)
ONE_CARD = Machine((CARD,), 4, 32 * GIB)
NO_CARD = Machine((), 4, 32 * GIB)
SPEC = JobSpec(0, "a", "a.yaml", "training", seed=1, batch_size=32)
OOM = ExitFacts(code=1, said="oom_gpu", error="OOM when allocating", place="train")


class Run:
    """A run of one job on a machine, driven by hand."""

    def __init__(self, machine: Machine, spec: JobSpec = SPEC) -> None:
        """Make it, with its job queued."""
        self.machine = machine
        self.state = RunState(machine=machine)
        fold(self.state, Record(1, 1.0, RunCreated("r", "", (spec,))))
        self.state.machine = machine

    @property
    def job(self) -> Job:
        """The job as it stands."""
        return self.state.jobs["a"]

    def step(self, stimulus: stim.Stimulus) -> None:
        """Decide and fold, through the JSON form of each event."""
        for event in m.decide(self.state, stimulus, 10.0).events:
            fold(self.state, record_from_json(record_to_json(Record(self.state.seq + 1, 10.0, event))))

    def attempt(self, facts: ExitFacts) -> tuple[int | None, int, str]:
        """Place the job, let the attempt end so, and return the batch, the accumulation and the device it had."""
        (placed,) = place(self.state, self.machine)
        where = "cpu" if not placed.allocation.shares else f"{placed.allocation.shares[0].memory_bytes // GIB}GiB"
        batch = (placed.batch_size, placed.accumulation, where)
        self.step(
            stim.Placed("a", placed.allocation, placed.batch_size, placed.accumulation, placed.evaluation_batch_size)
        )
        number = len(self.job.attempts)
        self.step(stim.Started("a", number, ME, ME))
        self.step(stim.Ended("a", number, facts))
        return batch

    def until_it_ends(self, facts: ExitFacts) -> list[tuple[int | None, int, str]]:
        """Let every attempt end so until none follows; return what each had."""
        found = []
        while self.job.state is JobState.QUEUED:
            found.append(self.attempt(facts))
        return found


def test_the_whole_ladder_halves_then_grows_the_grant_then_takes_the_cpu_then_fails() -> None:
    """A batch of 32 on half a card of 16 GiB."""
    run = Run(ONE_CARD)
    tried = run.until_it_ends(OOM)
    batches = [(32, 1), (16, 2), (8, 4), (4, 8), (2, 16), (1, 32)]
    assert tried[:6] == [(*batch, "8GiB") for batch in batches]
    assert tried[6] == (1, 32, "16GiB")
    assert tried[7:9] == [(32, 1, "cpu"), (16, 2, "cpu")]
    assert run.job.state is JobState.FAILED
    assert "OOM when allocating" in (run.job.error or "")
    assert len(run.job.recoveries) == len(tried) - 1 <= MAX_STEPS


def test_every_update_sees_as_many_samples_as_before() -> None:
    """Whatever the batch is divided into."""
    for batch, times in [(32, 1), (25, 1), (7, 3), (1, 8), (48, 2)]:
        size, count = halved(batch, times)
        assert size * count == batch * times
        assert size <= max(1, batch // 2)


def test_memory_that_is_short_in_the_judging_halves_its_batch_and_leaves_the_training_alone() -> None:
    """No result depends on the batch of an evaluation."""
    run = Run(ONE_CARD)
    run.attempt(replace(OOM, place="evaluate"))
    assert run.attempt(replace(OOM, place="validate"))[:2] == (32, 1)
    assert run.job.adjustment.evaluation_batch_size == 8
    run.attempt(ExitFacts(code=0, said="success"))
    assert run.job.attempts[-1].evaluation_batch_size == 8
    assert run.job.state is JobState.SUCCEEDED


def test_the_floor_of_the_user_is_kept() -> None:
    """Below it comes the next kind of step."""
    run = Run(NO_CARD, replace(SPEC, resources=Resources(min_batch_size=10)))
    assert run.until_it_ends(OOM) == [(32, 1, "cpu"), (16, 2, "cpu")]


def test_a_grant_that_the_user_fixed_does_not_grow() -> None:
    """And where the CPU is refused nothing is left after the floor."""
    fixed = Resources(gpu_memory_bytes=4 * GIB, allow_cpu=False, min_batch_size=16)
    run = Run(ONE_CARD, replace(SPEC, resources=fixed))
    assert run.until_it_ends(OOM) == [(16, 2, "4GiB")]


def test_the_grant_grows_no_further_than_what_other_programs_leave() -> None:
    """10 GiB held by a stranger: 3 of 6 GiB, then all 6."""
    taken = replace(CARD, foreign_bytes=10 * GIB)
    spec = replace(SPEC, resources=Resources(min_batch_size=12, allow_cpu=False))
    assert [where for _, _, where in Run(Machine((taken,), 4, GIB), spec).until_it_ends(OOM)] == ["3GiB", "6GiB"]


def test_a_program_without_a_batch_gets_a_larger_grant_and_then_the_cpu() -> None:
    """There is nothing to halve."""
    run = Run(ONE_CARD, JobSpec(0, "a", "a.yaml", "command", seed=1))
    said_nothing = ExitFacts(code=1, tail=("RuntimeError: CUDA out of memory. Tried to allocate 2 GiB",))
    assert [where for _, _, where in run.until_it_ends(said_nothing)] == ["8GiB", "16GiB", "cpu"]


def test_host_memory_is_not_answered_by_another_card() -> None:
    """The card has nothing to do with it."""
    run = Run(ONE_CARD, replace(SPEC, resources=Resources(min_batch_size=16)))
    tried = run.until_it_ends(ExitFacts(signal=9, oom_kill=True))
    assert tried == [(32, 1, "8GiB"), (16, 2, "8GiB")]


def test_a_crash_after_a_lack_of_memory_is_answered_by_the_next_step() -> None:
    """TensorFlow without memory may end by SIGSEGV as well as by an exception."""
    run = Run(NO_CARD, replace(SPEC, max_attempts=2, backoff_s=0.0))
    run.attempt(ExitFacts(signal=9, oom_kill=True))
    run.attempt(ExitFacts(signal=11))
    assert (len(run.job.recoveries), run.job.failures) == (2, 0)


def test_steps_are_counted_apart_from_attempts_that_failed_otherwise() -> None:
    """Two steps of the ladder leave the one retry that the user allowed."""
    run = Run(NO_CARD, replace(SPEC, max_attempts=2, backoff_s=0.0))
    run.attempt(OOM)
    run.attempt(OOM)
    assert run.job.failures == 0
    run.attempt(ExitFacts(code=1, error="KeyError: 'x'"))
    assert run.job.state is JobState.RETRYING


def test_a_retry_by_the_user_starts_with_what_is_known_to_fit() -> None:
    """And may go down the whole ladder again."""
    run = Run(NO_CARD)
    run.attempt(OOM)
    run.attempt(ExitFacts(code=1, error="KeyError: 'x'"))
    run.step(stim.Retry("a", "o"))
    assert (run.job.adjustment.batch_size, run.job.adjustment.steps) == (16, 0)


@pytest.mark.parametrize("place_said", ["train", None])
def test_the_steps_end_for_a_batch_that_could_be_halved_for_ever(place_said: str | None) -> None:
    """At most 10 steps in all, of which 8 halve."""
    run = Run(NO_CARD, replace(SPEC, batch_size=2**20))
    tried = run.until_it_ends(replace(OOM, place=place_said))
    assert [batch for batch, _, _ in tried] == [2**power for power in range(20, 11, -1)]
