"""Which jobs start, what they are granted, why the others wait, and what can never fit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.core.model import (
    Allocation,
    Attempt,
    Device,
    Job,
    JobSpec,
    JobState,
    Machine,
    Resources,
    RunState,
)
from parallel_ml.core.placement import (
    Placement,
    check_fits,
    cpu_share,
    place,
    waiting_reason,
    waiting_reasons,
)
from parallel_ml.core.units import GIB, MIB
from parallel_ml.errors import PlacementError

if TYPE_CHECKING:
    from collections.abc import Sequence


def machine(*sizes_gib: float, cores: int = 8, memory_gib: int = 64) -> Machine:
    """Return a machine with cards of these sizes."""
    devices = tuple(
        Device(index, f"SIM-{index}", "simulated", round(size * GIB)) for index, size in enumerate(sizes_gib)
    )
    return Machine(devices, cores, memory_gib * GIB)


def filled(base: Machine, index: int, foreign_gib: float) -> Machine:
    """Return the machine with that much of a card held by other programs."""
    devices = list(base.devices)
    devices[index] = replace(devices[index], foreign_bytes=round(foreign_gib * GIB))
    return replace(base, devices=tuple(devices))


def without(base: Machine, *lost: int) -> Machine:
    """Return the machine with these cards lost."""
    return replace(base, devices=tuple(replace(card, lost=card.index in lost) for card in base.devices))


def specs(*wanted: Resources, batch_size: int | None = 32) -> list[JobSpec]:
    """Return a job for each request: a, b, c and so on."""
    return [
        JobSpec(position, chr(ord("a") + position), "config.yaml", "training", 1, resources, batch_size)
        for position, resources in enumerate(wanted)
    ]


def run_of(jobs: Sequence[JobSpec], max_parallel: int | None = None) -> RunState:
    """Return a run in which every job is queued."""
    return RunState(max_parallel=max_parallel, jobs={spec.name: Job(spec) for spec in jobs})


def start(state: RunState, placements: Sequence[Placement]) -> None:
    """Let the placed jobs run."""
    for placed in placements:
        job = state.jobs[placed.job]
        attempt = Attempt(len(job.attempts) + 1, placed.allocation, placed.batch_size, placed.accumulation, 0.0)
        state.jobs[placed.job] = replace(job, state=JobState.RUNNING, attempts=(*job.attempts, attempt))


def finish(state: RunState, name: str) -> None:
    """Let a running job succeed."""
    job = state.jobs[name]
    ended = (*job.attempts[:-1], replace(job.attempts[-1], ended_at=1.0))
    state.jobs[name] = replace(job, state=JobState.SUCCEEDED, attempts=ended)


def reason(state: RunState, on: Machine, name: str) -> str | None:
    """Return why the job waits."""
    return waiting_reason(state, on, state.jobs[name])


def names(placements: Sequence[Placement]) -> str:
    """Return the names of the placed jobs in order, as one word."""
    return "".join(placed.job for placed in placements)


def cards(placements: Sequence[Placement]) -> list[int]:
    """Return the first card of each placed job."""
    return [placed.allocation.shares[0].gpu_index for placed in placements]


def grants_mb(placements: Sequence[Placement]) -> list[int | None]:
    """Return the grant of each placed job in MiB."""
    return [placed.allocation.memory_limit_mb for placed in placements]


ANY = Resources()


class TestGrants:
    """What a job gets of a card."""

    def test_two_jobs_halve_a_card(self) -> None:
        """One GPU has two slots, each with half of its memory."""
        placed = place(run_of(specs(ANY, ANY)), machine(16))
        assert [placement.allocation.to_dict() for placement in placed] == [
            {
                "device": "gpu",
                "gpu_index": 0,
                "gpu_uuid": "SIM-0",
                "memory_limit": 8192,
                "memory_fraction": 0.5,
                "process_id": position,
                "cpus": 4,
            }
            for position in (0, 1)
        ]

    def test_a_single_job_gets_the_same_share(self) -> None:
        """A job alone on a card gets one slot, not the card."""
        assert grants_mb(place(run_of(specs(ANY)), machine(16))) == [8192]

    @pytest.mark.parametrize(
        ("size_gib", "wants", "requested", "expected"),
        [
            (16, ANY, 32, (8192, 0.5, 32, 1)),
            (16, ANY, 64, (8192, 0.5, 32, 2)),
            (16, ANY, 8, (8192, 0.5, 8, 1)),
            (15, ANY, 32, (7680, 0.5, 32, 1)),
            (16, Resources(gpu_memory_bytes=4000 * MIB), 16, (4000, 0.2441, 16, 1)),
            (16, Resources(gpu_memory_bytes=4000 * MIB), 32, (4000, 0.2441, 16, 2)),
            (16, Resources(gpu_memory_bytes=4000 * MIB + 1), 32, (4000, 0.2441, 16, 2)),
            (16, Resources(gpu_memory_fraction=0.75), 64, (12_288, 0.75, 32, 2)),
            (16, Resources(exclusive=True), 64, (16_384, 1.0, 64, 1)),
            (16, Resources(exclusive=True, gpu_memory_bytes=4 * GIB), 64, (4096, 0.25, 16, 4)),
            (16, Resources(jobs_per_gpu=3), 32, (5461, 0.3333, 16, 2)),
            (16, Resources(jobs_per_gpu=1), 64, (16_384, 1.0, 64, 1)),
        ],
    )
    def test_grant_and_batch(
        self, size_gib: int, wants: Resources, requested: int, expected: tuple[int, float, int, int]
    ) -> None:
        """The grant in whole MiB, its part of the card, and the batch that it makes."""
        (placed,) = place(run_of(specs(wants, batch_size=requested)), machine(size_gib))
        told = placed.allocation.to_dict()
        assert (told["memory_limit"], told["memory_fraction"], placed.batch_size, placed.accumulation) == expected

    def test_the_users_accumulation_is_multiplied(self) -> None:
        """What the user accumulates stays on top of what the grant asks for."""
        (spec,) = specs(ANY, batch_size=64)
        (placed,) = place(run_of([replace(spec, accumulation=3)]), machine(16))
        assert (placed.batch_size, placed.accumulation) == (32, 6)

    def test_a_program_without_a_batch_has_none(self) -> None:
        """An own program that names no batch size is given none."""
        (placed,) = place(run_of(specs(ANY, batch_size=None)), machine(16))
        assert (placed.batch_size, placed.accumulation) == (None, 1)

    def test_memory_of_other_programs_is_divided_out(self) -> None:
        """Where others hold 4 of 16 GiB, each of two jobs gets half of the 12 that are left."""
        placed = place(run_of(specs(ANY, ANY)), filled(machine(16), 0, 4))
        assert grants_mb(placed) == [6144, 6144]
        assert placed[0].allocation.shares[0].memory_fraction == 6 / 16

    def test_exclusive_gets_what_others_leave(self) -> None:
        """The whole card is what no other program holds of it."""
        assert grants_mb(place(run_of(specs(Resources(exclusive=True))), filled(machine(16), 0, 4))) == [12_288]

    def test_an_equal_share_beside_a_fixed_grant_is_what_is_left(self) -> None:
        """Beside a job that fixed 12 of 16 GiB, the other slot has 4."""
        placed = place(run_of(specs(Resources(gpu_memory_bytes=12 * GIB), ANY)), machine(16))
        assert grants_mb(placed) == [12_288, 4096]

    def test_what_a_fixed_grant_leaves_is_divided_among_the_slots(self) -> None:
        """Beside a job that fixed 10 of 16 GiB, three further slots have 2 each."""
        four = Resources(jobs_per_gpu=4)
        placed = place(run_of(specs(replace(four, gpu_memory_bytes=10 * GIB), four, four, four)), machine(16))
        assert grants_mb(placed) == [10_240, 2048, 2048, 2048]

    def test_an_equal_share_is_of_what_other_programs_leave(self) -> None:
        """Where others hold 4 of 16 GiB and a job of ours fixed 1, the other slot has half of 12."""
        placed = place(run_of(specs(Resources(gpu_memory_bytes=GIB), ANY)), filled(machine(16), 0, 4))
        assert grants_mb(placed) == [1024, 6144]

    def test_an_equal_share_never_exceeds_its_slot(self) -> None:
        """Beside a job that fixed only 2 GiB, the other slot still has half of the card."""
        placed = place(run_of(specs(Resources(gpu_memory_bytes=2 * GIB), ANY)), machine(16))
        assert grants_mb(placed) == [2048, 8192]

    def test_a_sliver_is_not_granted(self) -> None:
        """Where others leave less than 1 GiB for a slot of 8, the job waits and says so."""
        state, full = run_of(specs(ANY)), filled(machine(16), 0, 15)
        assert place(state, full) == []
        assert reason(state, full, "a") == (
            "needs at least 1GiB on one card, 1GiB free on GPU 0 (15GiB held by other programs)"
        )


class TestCards:
    """Which card a job gets."""

    def test_a_different_card_for_each_job_first(self) -> None:
        """Two jobs on two cards do not share."""
        assert cards(place(run_of(specs(ANY, ANY)), machine(16, 16))) == [0, 1]

    def test_three_jobs_on_two_cards(self) -> None:
        """The third job shares, and each still gets half of a card."""
        placed = place(run_of(specs(ANY, ANY, ANY)), machine(16, 16))
        assert (cards(placed), grants_mb(placed)) == ([0, 1, 0], [8192, 8192, 8192])

    def test_five_jobs_on_two_cards(self) -> None:
        """Four start and the fifth waits with its reason."""
        state, two = run_of(specs(*[ANY] * 5)), machine(16, 16)
        assert cards(place(state, two)) == [0, 1, 0, 1]
        assert waiting_reasons(state, two) == {"e": "4 of 4 slots in use"}

    def test_the_emptiest_card_comes_first(self) -> None:
        """Among cards without our jobs the one with the most free memory is taken."""
        assert cards(place(run_of(specs(ANY, ANY)), machine(8, 24))) == [1, 0]

    def test_a_card_with_other_programs_comes_last(self) -> None:
        """A card that another program fills in part is taken after a free one."""
        assert cards(place(run_of(specs(ANY, ANY)), filled(machine(16, 16), 0, 4))) == [1, 0]

    def test_a_full_card_is_routed_around(self) -> None:
        """Where other programs hold all of a card, jobs share the other one."""
        assert cards(place(run_of(specs(ANY, ANY)), filled(machine(16, 16), 0, 16))) == [1, 1]

    def test_two_gpus_are_two_different_cards(self) -> None:
        """A job of two cards takes the two emptiest, and its limit is the smaller grant."""
        (placed,) = place(run_of(specs(Resources(gpus=2))), machine(8, 16, 24))
        assert [share.gpu_index for share in placed.allocation.shares] == [2, 1]
        assert placed.allocation.memory_limit_mb == 8192

    def test_exclusive_shares_with_nobody(self) -> None:
        """No other job of ours comes to an exclusive card, and none is on it before."""
        state = run_of(specs(ANY, Resources(exclusive=True), ANY, ANY))
        placed = place(state, machine(16, 16))
        assert (names(placed), cards(placed)) == ("abc", [0, 1, 0])

    def test_fixed_memory_that_does_not_fit_waits(self) -> None:
        """Two jobs of 12 GiB do not share 16."""
        big = Resources(gpu_memory_bytes=12 * GIB)
        state = run_of(specs(big, big))
        assert names(place(state, machine(16))) == "a"
        assert reason(state, machine(16), "b") == "needs 12GiB on one card, 4GiB free on GPU 0"

    def test_small_fixed_grants_are_bounded_by_slots(self) -> None:
        """Three jobs of 1 GiB still are two on a card of two slots."""
        small = Resources(gpu_memory_bytes=GIB)
        assert names(place(run_of(specs(small, small, small)), machine(16))) == "ab"

    def test_running_jobs_keep_what_they_hold(self) -> None:
        """A second turn places the next job only when one has ended."""
        state, one = run_of(specs(ANY, ANY, ANY)), machine(16)
        start(state, place(state, one))
        assert place(state, one) == []
        finish(state, "b")
        assert names(place(state, one)) == "c"

    def test_a_frozen_job_keeps_its_card(self) -> None:
        """A paused job whose process is only stopped still holds its grant."""
        state, one = run_of(specs(Resources(exclusive=True), ANY)), machine(16)
        start(state, place(state, one))
        state.jobs["a"] = replace(state.jobs["a"], state=JobState.PAUSED, frozen=True)
        assert place(state, one) == []

    def test_lost_cards_are_left_alone(self) -> None:
        """Nothing is placed on a lost card."""
        assert cards(place(run_of(specs(ANY, ANY)), without(machine(16, 16), 0))) == [1, 1]

    def test_with_all_cards_lost_jobs_wait(self) -> None:
        """Jobs of a machine that lost its cards do not move to the CPU silently."""
        state, lost = run_of(specs(ANY)), without(machine(16, 16), 0, 1)
        assert place(state, lost) == []
        assert reason(state, lost, "a") == "needs 1 GPU, 0 left (lost: GPU 0, 1)"


class TestCpu:
    """Jobs on the CPU."""

    @pytest.mark.parametrize(("cores", "slots"), [(1, 2), (2, 2), (4, 2), (8, 4), (9, 4)])
    def test_one_slot_for_two_cores(self, cores: int, slots: int) -> None:
        """As many jobs as half of the cores, and at least two."""
        state = run_of(specs(*[ANY] * 10))
        placed = place(state, machine(cores=cores))
        assert len(placed) == slots
        assert all(placement.allocation.shares == () for placement in placed)
        assert reason(state, machine(cores=cores), "j") == f"{slots} of {slots} slots in use"

    def test_the_batch_is_not_capped(self) -> None:
        """On the CPU the batch stays as it was asked for."""
        (placed,) = place(run_of(specs(ANY, batch_size=5000)), machine())
        assert (placed.batch_size, placed.accumulation) == (5000, 1)

    def test_gpus_asked_for_by_number_run_on_a_machine_without(self) -> None:
        """Where there is no card at all, a job of three cards runs on the CPU."""
        assert names(place(run_of(specs(Resources(gpus=3))), machine())) == "a"

    def test_cpu_jobs_run_beside_gpu_jobs(self) -> None:
        """A job with gpus: 0 takes a CPU slot and leaves the cards to others."""
        cpu = Resources(gpus=0)
        state = run_of(specs(ANY, cpu, ANY, cpu, ANY, cpu))
        assert names(place(state, machine(16, cores=4))) == "abcd"
        assert waiting_reasons(state, machine(16, cores=4)) == {
            "e": "2 of 2 slots in use",
            "f": "2 of 2 CPU slots in use",
        }

    def test_cores_asked_for_add_up_to_no_more_than_there_are(self) -> None:
        """Three jobs of 3 cores on 8: two start."""
        three = Resources(cpus=3)
        state = run_of(specs(three, three, three))
        assert names(place(state, machine(cores=8))) == "ab"
        assert reason(state, machine(cores=8), "c") == "needs 3 cores, 2 of 8 not taken by other jobs"

    def test_memory_asked_for_adds_up_to_no_more_than_there_is(self) -> None:
        """Two jobs of 40 GiB on 64: one starts; jobs on cards count too."""
        wants = Resources(memory_bytes=40 * GIB)
        state = run_of(specs(wants, wants))
        for on in (machine(memory_gib=64), machine(16, memory_gib=64)):
            assert names(place(state, on)) == "a"
            assert reason(state, on, "b") == "needs 40GiB of host memory, 24GiB of 64GiB not taken by other jobs"

    def test_a_job_that_may_not_run_on_the_cpu_waits(self) -> None:
        """With allow_cpu false and no card nothing starts."""
        state = run_of(specs(Resources(allow_cpu=False)))
        assert place(state, machine()) == []
        assert reason(state, machine(), "a") == "needs a GPU, and this machine has none (allow_cpu is false)"


class TestThreads:
    """How many cores each job's threads are set to."""

    @pytest.mark.parametrize(
        ("slots", "asked", "expected"), [(1, None, None), (2, None, 4), (3, None, 2), (99, None, 1), (2, 6, 6)]
    )
    def test_share(self, slots: int, asked: int | None, expected: int | None) -> None:
        """An equal share of 8 cores; a job alone keeps the default; the user's own number stands."""
        assert cpu_share(machine(cores=8), slots, asked) == expected

    @pytest.mark.parametrize(
        ("jobs", "max_parallel", "sizes", "expected"),
        [(1, None, (), None), (2, None, (), 4), (9, None, (), 2), (9, 2, (), 4), (9, 1, (), None), (9, None, (16,), 4)],
    )
    def test_slots_are_those_that_the_run_can_use(
        self, jobs: int, max_parallel: int | None, sizes: tuple[int, ...], expected: int | None
    ) -> None:
        """The cores are divided by the jobs that can run side by side."""
        placed = place(run_of(specs(*[ANY] * jobs), max_parallel), machine(*sizes, cores=8))
        assert {placement.allocation.cpus for placement in placed} == {expected}

    def test_the_share_is_the_same_all_through_a_run(self) -> None:
        """The last job of a run has the threads that the first had, though it is alone by then."""
        state, cpu = run_of(specs(ANY, ANY, ANY), 2), machine(cores=8)
        start(state, place(state, cpu))
        finish(state, "a")
        finish(state, "b")
        assert [placed.allocation.cpus for placed in place(state, cpu)] == [4]

    def test_a_further_attempt_keeps_the_threads_of_the_first(self) -> None:
        """A job that comes back elsewhere trains with the number of threads that it began with."""
        state = run_of(specs(ANY, ANY))
        first = Attempt(1, Allocation(0, (), 3), 32, 1, 0.0, ended_at=1.0)
        state.jobs["a"] = replace(state.jobs["a"], attempts=(first,))
        assert place(state, machine(cores=8))[0].allocation.cpus == 3


class TestOrder:
    """Who comes first."""

    def test_priority_then_position(self) -> None:
        """Higher priorities first, then the order of the configurations."""
        jobs = [
            replace(spec, priority=priority) for spec, priority in zip(specs(*[ANY] * 4), [0, 5, -1, 5], strict=True)
        ]
        assert names(place(run_of(jobs), machine(16, 16))) == "bdac"

    def test_a_job_waits_for_those_it_depends_on(self) -> None:
        """A dependent job starts when all of them have succeeded."""
        a, b, c = specs(ANY, ANY, ANY)
        state, two = run_of([a, b, replace(c, depends_on=("a", "b"))]), machine(16, 16)
        assert reason(state, two, "c") == "waits for a, b"
        start(state, place(state, two))
        finish(state, "a")
        assert place(state, two) == []
        assert reason(state, two, "c") == "waits for b"
        finish(state, "b")
        assert names(place(state, two)) == "c"

    def test_max_parallel(self) -> None:
        """No more jobs than --max-parallel live at once."""
        state, two = run_of(specs(ANY, ANY, ANY), max_parallel=1), machine(16, 16)
        start(state, place(state, two))
        assert waiting_reasons(state, two) == {"b": "--max-parallel 1 reached", "c": "--max-parallel 1 reached"}
        assert place(state, two) == []

    def test_a_job_that_can_start_has_no_reason(self) -> None:
        """Only what has to wait has a reason; what runs has none either."""
        state, one = run_of(specs(ANY, ANY)), machine(16)
        start(state, place(state, one)[:1])
        assert [reason(state, one, name) for name in "ab"] == [None, None]

    def test_small_jobs_pass_a_big_one_where_they_do_not_delay_it(self) -> None:
        """A job that waits for one card leaves the other to those behind it."""
        half, whole = Resources(gpu_memory_bytes=8 * GIB), Resources(gpu_memory_bytes=14 * GIB)
        state, two = run_of(specs(half, half, whole, half, half)), machine(16, 16)
        start(state, place(state, two)[:2])
        assert names(place(state, two)) == "d"
        assert waiting_reasons(state, two) == {
            "c": "needs 14GiB on one card, 8GiB free on GPU 0",
            "e": "lets c go first",
        }

    def test_a_big_job_is_not_starved_by_small_ones(self) -> None:
        """A job of two whole cards gets them although small ones wait behind it all the time."""
        state = run_of(specs(ANY, ANY, Resources(gpus=2, exclusive=True), *[ANY] * 20))
        two = machine(16, 16)
        start(state, place(state, two)[:2])
        for name in "ab":
            assert place(state, two) == []
            finish(state, name)
        assert names(place(state, two)) == "c"

    def test_a_job_that_waits_for_other_programs_blocks_nobody(self) -> None:
        """Nothing is kept free for a job that our own jobs are not in the way of."""
        state = run_of(specs(Resources(gpu_memory_bytes=12 * GIB), ANY, ANY))
        assert names(place(state, filled(machine(16), 0, 8))) == "bc"

    def test_a_job_of_many_cores_is_not_starved(self) -> None:
        """Cores that the first waiting job asked for are not given to those behind it."""
        state, cpu = run_of(specs(Resources(cpus=2), Resources(cpus=8), Resources(cpus=2), ANY)), machine(cores=8)
        assert names(place(state, cpu)) == "ad"
        assert reason(state, cpu, "c") == "lets b go first"

    def test_waiting_cpu_jobs_do_not_hide_a_gpu_job(self) -> None:
        """The first that waits is protected for cards and for the CPU alike."""
        cpu = Resources(gpus=0)
        state = run_of(specs(ANY, cpu, cpu, cpu, Resources(exclusive=True), ANY))
        one = machine(16, cores=2)
        start(state, place(state, one)[:3])
        assert place(state, one) == []
        assert reason(state, one, "f") == "lets d and e go first"

    def test_the_state_is_not_changed(self) -> None:
        """Placing reads only."""
        state = run_of(specs(ANY, ANY))
        before = (dict(state.jobs), state.seq)
        place(state, machine(16))
        assert (state.jobs, state.seq) == before

    def test_other_states_are_not_placed(self) -> None:
        """Only queued jobs start."""
        for other in JobState:
            state = run_of(specs(ANY))
            state.jobs["a"] = replace(state.jobs["a"], state=other)
            assert names(place(state, machine(16))) == ("a" if other is JobState.QUEUED else "")


class TestNeverFits:
    """What is refused before anything starts."""

    @pytest.mark.parametrize(
        ("wants", "sizes", "message"),
        [
            (Resources(gpus=3), (16, 16), "config.yaml: a: wants 3 GPUs, but this machine has 2; lower resources.gpus"),
            (
                Resources(gpu_memory_bytes=24 * GIB),
                (16, 8),
                "config.yaml: a: wants 24GiB on one GPU, but the largest GPU has 16GiB; lower resources.gpu_memory",
            ),
            (
                Resources(gpus=2, gpu_memory_bytes=12 * GIB),
                (16, 8),
                (
                    "config.yaml: a: wants 12GiB on each of 2 GPUs, but GPU number 2 by size has 8GiB; "
                    "lower resources.gpu_memory"
                ),
            ),
            (
                Resources(allow_cpu=False),
                (),
                (
                    "config.yaml: a: wants a GPU (allow_cpu is false), but this machine has none; "
                    "set resources.allow_cpu: true, or try --gpus sim:1x16GiB"
                ),
            ),
            (Resources(cpus=16), (), "config.yaml: a: wants 16 cores, but this machine has 8; lower resources.cpus"),
            (
                Resources(memory_bytes=100 * GIB),
                (16,),
                "config.yaml: a: wants 100GiB of host memory, but this machine has 64GiB; lower resources.memory",
            ),
            (
                Resources(jobs_per_gpu=100_000),
                (16,),
                "config.yaml: a: wants 1/100000 of a GPU, but the largest has 16GiB; lower resources.jobs_per_gpu",
            ),
        ],
    )
    def test_refused_with_the_numbers(self, wants: Resources, sizes: tuple[int, ...], message: str) -> None:
        """The message says which job, what it wants and the most there is."""
        with pytest.raises(PlacementError) as refused:
            check_fits(specs(wants), machine(*sizes))
        assert str(refused.value) == message

    def test_lost_cards_do_not_count(self) -> None:
        """A job of two cards does not fit on a machine that lost one of two."""
        with pytest.raises(PlacementError, match=r"wants 2 GPUs, but this machine has 1 that works \(1 lost\)"):
            check_fits(specs(Resources(gpus=2)), without(machine(16, 16), 1))

    def test_memory_of_other_programs_may_come_back(self) -> None:
        """A job that only other programs keep out is not refused: it waits."""
        check_fits(specs(Resources(gpu_memory_bytes=12 * GIB)), filled(machine(16), 0, 16))

    def test_the_first_that_cannot_fit_is_named(self) -> None:
        """A job that fits is no reason to let the next one through."""
        with pytest.raises(PlacementError) as refused:
            check_fits(specs(ANY, Resources(gpus=5)), machine(16))
        assert refused.value.job == "b"

    def test_all_that_cannot_fit_are_named(self) -> None:
        """Each with its file, in a line of its own."""
        wants = Resources(gpu_memory_bytes=40 * GIB)
        with pytest.raises(PlacementError) as refused:
            check_fits(specs(wants, ANY, wants), machine(16))
        assert [line.split(" wants")[0] for line in str(refused.value).splitlines()] == [
            "config.yaml: a:",
            "config.yaml: c:",
        ]

    def test_more_jobs_than_slots_fit(self) -> None:
        """Each job alone has to fit, not all of them at once."""
        check_fits(specs(*[Resources(exclusive=True)] * 5), machine(16))


SIZES_GIB = st.lists(st.sampled_from([1.0, 2.0, 8.0, 11.5, 15.0, 16.0, 24.0]), max_size=4)
WANTS = st.builds(
    Resources,
    gpus=st.sampled_from([None, 0, 1, 1, 2, 3]),
    jobs_per_gpu=st.integers(1, 7),
    gpu_memory_bytes=st.none() | st.integers(1, 20 * 1024).map(lambda mib: mib * MIB),
    gpu_memory_fraction=st.none() | st.floats(0.05, 1.0),
    exclusive=st.booleans(),
    cpus=st.none() | st.integers(1, 8),
    memory_bytes=st.none() | st.integers(1, 64).map(lambda gib: gib * GIB),
    allow_cpu=st.booleans(),
)


@st.composite
def machines(draw: st.DrawFn, *, ours_alone: bool = False) -> Machine:
    """Machines of up to four cards, unless `ours_alone` with other programs on them and cards lost."""
    drawn = machine(*draw(SIZES_GIB), cores=draw(st.integers(1, 16)), memory_gib=draw(st.integers(1, 128)))
    if ours_alone:
        return drawn
    devices = tuple(
        replace(
            card,
            foreign_bytes=int(card.memory_bytes * draw(st.sampled_from([0, 0, 0.3, 0.9, 1]))),
            lost=draw(st.sampled_from([False, False, True])),
        )
        for card in drawn.devices
    )
    return replace(drawn, devices=devices)


@st.composite
def runs(draw: st.DrawFn) -> RunState:
    """Runs of up to twelve jobs, all queued, some of them waiting for earlier ones."""
    jobs = [
        replace(
            spec,
            priority=draw(st.integers(-1, 1)),
            depends_on=(chr(ord("a") + draw(st.integers(0, spec.position - 1))),)
            if spec.position and draw(st.booleans())
            else (),
        )
        for spec in specs(*draw(st.lists(WANTS, min_size=1, max_size=12)))
    ]
    return run_of(jobs, draw(st.none() | st.integers(1, 4)))


def assert_within_bounds(state: RunState, on: Machine) -> None:
    """Hold that no card, slot, core or byte is given out twice."""
    holds = [(job.spec.resources, job.holds) for job in state.jobs.values() if job.holds is not None]
    shares = [share for _, allocation in holds if allocation for share in allocation.shares]
    for card in on.devices:
        here = [share for share in shares if share.gpu_uuid == card.uuid]
        assert sum(share.slot_fraction for share in here) <= 1 + 1e-9
        assert not here or sum(share.memory_bytes for share in here) + card.foreign_bytes <= card.memory_bytes
        assert not (card.lost and here)
        assert all(share.memory_bytes % MIB == 0 for share in here)
        assert all(share.memory_fraction == share.memory_bytes / card.memory_bytes > 0 for share in here)
    assert sum(allocation is not None and not allocation.shares for _, allocation in holds) <= on.cpu_slots
    assert sum(wants.cpus or 0 for wants, _ in holds) <= on.cores
    assert sum(wants.memory_bytes or 0 for wants, _ in holds) <= on.memory_bytes
    assert state.max_parallel is None or len(holds) <= state.max_parallel


@given(state=runs(), on=machines(), data=st.data())
def test_nothing_is_given_out_twice(state: RunState, on: Machine, data: st.DataObject) -> None:
    """Turn after turn, with jobs ending in any order, no card is over-committed and no job placed twice."""
    seen: Counter[str] = Counter()
    for _ in range(6):
        placed = place(state, on)
        assert placed == place(state, on)
        seen.update(placement.job for placement in placed)
        queued = {name for name, job in state.jobs.items() if job.state is JobState.QUEUED}
        reasons = waiting_reasons(state, on)
        assert set(reasons) == queued - {placement.job for placement in placed}
        assert all(reasons.values())
        start(state, placed)
        assert_within_bounds(state, on)
        for placement in placed:
            uuids = [share.gpu_uuid for share in placement.allocation.shares]
            assert len(set(uuids)) == len(uuids)
        for name in sorted(name for name, job in state.jobs.items() if job.holds is not None):
            if data.draw(st.booleans()):
                finish(state, name)
    assert all(count == 1 for count in seen.values())


def only_what_fits(state: RunState, on: Machine) -> RunState:
    """Return the run without the jobs that this machine refuses, and without what depends on those."""
    kept: dict[str, JobSpec] = {}
    for name, job in state.jobs.items():
        try:
            check_fits([job.spec], on)
        except PlacementError:
            continue
        kept[name] = replace(job.spec, depends_on=tuple(other for other in job.spec.depends_on if other in kept))
    return run_of(list(kept.values()), state.max_parallel)


@given(state=runs(), on=machines(ours_alone=True))
def test_every_job_that_fits_runs_in_the_end(state: RunState, on: Machine) -> None:
    """On a machine without other programs each turn places a job, until all have run."""
    fitting = only_what_fits(state, on)
    while not fitting.finished:
        placed = place(fitting, on)
        assert placed
        start(fitting, placed)
        for placement in placed:
            finish(fitting, placement.job)


@given(state=runs(), on=machines(ours_alone=True), late=st.lists(WANTS, min_size=1, max_size=4))
def test_nobody_is_overtaken_for_ever(state: RunState, on: Machine, late: list[Resources]) -> None:
    """A job that waits starts in the end although others keep coming behind it, each turn one ending."""
    fitting = only_what_fits(state, on)
    fitting = run_of([replace(job.spec, depends_on=()) for job in fitting.jobs.values()], state.max_parallel)
    ours, alive = set(fitting.jobs), list[str]()
    for turn in range(200):
        for number, wants in enumerate(late):
            spec = JobSpec(100 + turn, f"late-{turn}-{number}", "c.yaml", "training", 1, wants, priority=-9)
            fitting.jobs[spec.name] = Job(spec)
        placed = place(fitting, on)
        start(fitting, placed)
        alive += [placement.job for placement in placed]
        ours -= set(alive)
        if not ours:
            break
        finish(fitting, alive.pop(0))
        # Late jobs that have not started make way, so that the run stays small.
        for name in [name for name, job in fitting.jobs.items() if name.startswith("late") and not job.attempts]:
            del fitting.jobs[name]
    assert not ours
