"""Placement on cards that others use too: leases of other runs, memory of nobody known, MIG, a driver's own needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.core.codec import decode, encode
from parallel_ml.core.model import Attempt, Device, Job, JobSpec, JobState, Machine, Resources, RunState
from parallel_ml.core.placement import check_fits, place, waiting_reasons
from parallel_ml.core.units import GIB, MIB
from parallel_ml.errors import PlacementError

CARD = Device(0, "GPU-a", "card", 16 * GIB)
SECOND = Device(1, "GPU-b", "card", 16 * GIB)
ANY = Resources()
HALF_LEASED = replace(CARD, leased_bytes=8 * GIB, leased_slots=0.5, leased_to=("run-2",))


def machine(*devices: Device) -> Machine:
    """Return a machine with these cards."""
    return Machine(devices, 8, 64 * GIB)


def run_of(*wanted: Resources) -> RunState:
    """Return a run whose jobs, a, b and so on, are queued."""
    specs = [JobSpec(i, chr(97 + i), "x.yaml", "training", 1, wants, 32) for i, wants in enumerate(wanted)]
    return RunState(jobs={spec.name: Job(spec) for spec in specs})


def grants(state: RunState, *devices: Device) -> dict[str, tuple[int, int]]:
    """Return (card, MiB) of each job that starts now."""
    return {
        placed.job: (placed.allocation.shares[0].gpu_index, placed.allocation.shares[0].memory_limit_mb)
        for placed in place(state, machine(*devices))
    }


def reasons(state: RunState, *devices: Device) -> dict[str, str]:
    """Return why each job waits."""
    return waiting_reasons(state, machine(*devices))


def start(state: RunState, on: Machine) -> None:
    """Let run what is placed now."""
    for placed in place(state, on):
        job = state.jobs[placed.job]
        attempt = Attempt(1, placed.allocation, placed.batch_size, placed.accumulation, 0.0)
        state.jobs[placed.job] = replace(job, state=JobState.RUNNING, attempts=(attempt,))


class TestLeases:
    """Cards that other runs have a part of."""

    def test_the_other_half_is_ours(self) -> None:
        """Two runs share a card as two jobs of one run do."""
        state = run_of(ANY, ANY)
        assert grants(state, HALF_LEASED) == {"a": (0, 8192)}
        assert reasons(state, HALF_LEASED) == {"b": "2 of 2 slots in use (GPU 0: leased to run run-2)"}

    def test_an_empty_card_comes_first(self) -> None:
        """A lease makes a card as busy as a job does."""
        assert grants(run_of(ANY, ANY, ANY), HALF_LEASED, SECOND) == {"a": (1, 8192), "b": (0, 8192), "c": (1, 8192)}

    def test_a_small_lease_leaves_an_equal_share(self) -> None:
        """What the other run did not take is not ours beyond our half."""
        assert grants(run_of(ANY), replace(HALF_LEASED, leased_bytes=4 * GIB)) == {"a": (0, 8192)}

    def test_foreign_memory_and_leases_add_up(self) -> None:
        """4 GiB of a notebook beside 8 GiB of a lease leave 4."""
        assert grants(run_of(ANY), replace(HALF_LEASED, foreign_bytes=4 * GIB)) == {"a": (0, 4096)}

    def test_a_card_leased_as_a_whole_is_full(self) -> None:
        """An exclusive job of another run keeps ours off, however little it uses."""
        whole = replace(CARD, leased_bytes=GIB, leased_slots=1.0, leased_to=("run-2", "run-3"))
        state = run_of(ANY)
        assert grants(state, whole) == {}
        assert reasons(state, whole) == {"a": "2 of 2 slots in use (GPU 0: leased to run run-2 and run-3)"}

    def test_memory_that_is_leased_is_named(self) -> None:
        """Who needs more than the lease leaves reads whose it is."""
        state = run_of(Resources(gpu_memory_bytes=12 * GIB))
        assert reasons(state, HALF_LEASED) == {
            "a": "needs 12GiB on one card, 8GiB free on GPU 0 (GPU 0: leased to run run-2)"
        }

    def test_an_exclusive_job_waits_for_the_other_run(self) -> None:
        """Exclusive means no job of another run either."""
        assert reasons(run_of(Resources(exclusive=True)), HALF_LEASED) == {
            "a": "needs 1 GPU without another job, 0 of 1 now (GPU 0: leased to run run-2)"
        }

    def test_leases_end_so_they_refuse_nothing(self) -> None:
        """What would fit on the idle card waits, and is not called impossible."""
        spec = run_of(Resources(gpu_memory_bytes=12 * GIB)).jobs["a"].spec
        check_fits([spec], machine(replace(HALF_LEASED, leased_slots=1.0)))

    def test_an_event_of_an_older_version_has_no_leases(self) -> None:
        """A machine that was written down before leases were known still loads, and a new one comes back whole."""
        old = {"index": 0, "uuid": "GPU-a", "name": "card", "memory_bytes": 16 * GIB, "foreign_bytes": 0, "lost": False}
        assert decode(Device, old) == CARD
        assert decode(Device, encode(HALF_LEASED)) == HALF_LEASED


class TestUnattributed:
    """Memory in use that may be what our jobs were granted."""

    def test_it_is_covered_by_what_we_hold(self) -> None:
        """One job holds 8 of 16 GiB: of 7 GiB in use none has to be another's."""
        state = run_of(ANY, ANY)
        start(state, machine(replace(CARD, leased_slots=0.5)))
        assert grants(state, replace(CARD, unattributed_bytes=7 * GIB)) == {"b": (0, 8192)}

    def test_beyond_what_we_hold_it_is_taken(self) -> None:
        """Of 11 GiB in use beside a grant of 8, 3 are another's."""
        state = run_of(ANY, ANY)
        start(state, machine(replace(CARD, leased_slots=0.5)))
        assert grants(state, replace(CARD, unattributed_bytes=11 * GIB)) == {"b": (0, 5120)}


class TestFractions:
    """A part of a card, on cards whose driver takes a little for itself."""

    @pytest.mark.parametrize(
        ("fraction", "foreign_mib", "expected"),
        [(0.5, 6, [8192, 8186]), (0.5, 200, [8192, 7992]), (1.0, 400, [15_984]), (0.25, 6, [4096] * 3 + [4090])],
    )
    def test_a_little_less_is_as_good(self, fraction: float, foreign_mib: int, expected: list[int]) -> None:
        """Two halves run side by side although the driver needs some MiB, and no more is granted than is free."""
        wants = Resources(gpu_memory_fraction=fraction, jobs_per_gpu=round(1 / fraction))
        given = grants(run_of(*[wants] * len(expected)), replace(CARD, foreign_bytes=foreign_mib * MIB))
        assert [mib for _, mib in given.values()] == expected

    def test_much_less_is_not(self) -> None:
        """Half of a card is not given where a program holds a gigabyte of it."""
        wants = Resources(gpu_memory_fraction=0.5)
        assert len(grants(run_of(wants, wants), replace(CARD, foreign_bytes=GIB))) == 1

    def test_a_size_is_a_size(self) -> None:
        """Who asks for 8 GiB gets them or waits."""
        wants = Resources(gpu_memory_bytes=8 * GIB)
        assert len(grants(run_of(wants, wants), replace(CARD, foreign_bytes=6 * MIB))) == 1


class TestMig:
    """Parts of a card that the driver keeps apart."""

    INSTANCES = (Device(0, "MIG-1", "A100 MIG", 5 * GIB), Device(1, "MIG-2", "A100 MIG", 5 * GIB))

    def test_an_instance_is_a_card_for_one_job(self) -> None:
        """Jobs spread over instances as over cards."""
        assert grants(run_of(ANY, ANY), *self.INSTANCES) == {"a": (0, 2560), "b": (1, 2560)}

    def test_two_instances_are_no_two_cards(self) -> None:
        """CUDA gives a process one instance, so a job of two cards is refused at once."""
        spec = run_of(Resources(gpus=2)).jobs["a"].spec
        with pytest.raises(PlacementError, match=r"wants 2 GPUs, .* has 0 \(a process can use one MIG instance only\)"):
            check_fits([spec], machine(*self.INSTANCES))

    def test_a_job_of_two_cards_passes_instances_by(self) -> None:
        """Beside an instance, two whole cards serve."""
        state = run_of(Resources(gpus=2))
        cards = (self.INSTANCES[0], replace(CARD, index=1), replace(SECOND, index=2))
        (placed,) = place(state, machine(*cards))
        assert [share.gpu_uuid for share in placed.allocation.shares] == ["GPU-a", "GPU-b"]


sizes = st.integers(0, 16).map(lambda gib: gib * GIB)
slots = st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0])
wishes = st.builds(
    Resources,
    jobs_per_gpu=st.integers(1, 4),
    gpu_memory_bytes=st.none() | st.integers(1, 16 * 1024).map(lambda mib: mib * MIB),
    exclusive=st.booleans(),
) | st.builds(Resources, jobs_per_gpu=st.integers(1, 4), gpu_memory_fraction=st.floats(0.01, 1.0))


@given(
    wanted=st.lists(wishes, max_size=5),
    first=st.tuples(sizes, sizes, slots, sizes),
    later=st.tuples(sizes, sizes, slots, sizes),
)
def test_never_is_more_granted_than_is_left(
    wanted: list[Resources], first: tuple[int, int, float, int], later: tuple[int, int, float, int]
) -> None:
    """Whatever others hold, lease and hide, now and later, each grant fits beside it when it is given."""
    state = run_of(*wanted)
    for foreign, leased, leased_slots, unattributed in (first, later):
        device = replace(
            CARD,
            foreign_bytes=foreign,
            leased_bytes=leased,
            leased_slots=leased_slots,
            unattributed_bytes=unattributed,
        )
        placed = place(state, machine(device))
        start(state, machine(device))
        held = [share for job in state.jobs.values() if job.holds for share in job.holds.shares]
        if placed:
            granted = sum(share.memory_bytes for share in held)
            assert foreign + max(leased + granted, unattributed) <= 16 * GIB
            assert sum(share.slot_fraction for share in held) + leased_slots <= 1 + 1e-6
