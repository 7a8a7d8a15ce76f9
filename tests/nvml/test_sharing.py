"""Two runs and a stranger on one card of the stand-in: what is granted, turn by turn, and never too much."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from parallel_ml.core.model import Attempt, Job, JobSpec, JobState, Machine, Resources, RunState
from parallel_ml.core.placement import place, waiting_reasons
from parallel_ml.core.units import GIB
from parallel_ml.gpu import Claim, GPUManager, Leases
from parallel_ml.store.identity import identify
from tests.nvml.standin import Card, StandIn, Use

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.process


@dataclass
class Run:
    """What a supervisor does about cards, with a sleeping process for each attempt's shim."""

    leases: Leases
    gpus: GPUManager
    state: RunState
    shims: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def look(self) -> Machine:
        """Return the machine as this run sees it."""
        return self.gpus.snapshot([shim.pid for shim in self.shims.values()], self.leases.others())

    def turn(self) -> list[str]:
        """Start what there is room for; return the jobs."""
        me = identify()
        assert me is not None
        machine = self.look()
        claims = [Claim(placed.job, 1, placed.allocation) for placed in place(self.state, machine)]
        for claim in self.leases.acquire(claims, me, machine.devices):
            shim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
            self.shims[claim.job] = shim
            who = identify(shim.pid)
            assert who is not None
            self.leases.hand_over(claim.job, 1, who)
            job = self.state.jobs[claim.job]
            attempt = Attempt(1, claim.allocation, 32, 1, 0.0)
            self.state.jobs[claim.job] = replace(job, state=JobState.RUNNING, attempts=(attempt,))
        return sorted(self.shims)

    def kill(self, name: str) -> None:
        """End a job's processes, and see it ended."""
        shim = self.shims.pop(name)
        shim.kill()
        shim.communicate()
        job = self.state.jobs[name]
        ended = replace(job.attempts[0], ended_at=1.0)
        self.state.jobs[name] = replace(job, state=JobState.FAILED, attempts=(ended,))
        self.leases.release(name, 1)

    def granted_gib(self) -> float:
        """Return what its running jobs were granted."""
        return sum(job.holds.shares[0].memory_bytes for job in self.state.jobs.values() if job.holds) / GIB

    def reasons(self) -> list[str]:
        """Return why its jobs wait."""
        return list(waiting_reasons(self.state, self.look()).values())


@pytest.fixture
def runs(nvml: StandIn, tmp_path: Path) -> Iterator[tuple[Run, Run]]:
    """Return two runs of three jobs each on one card of 16 GiB."""
    nvml.show(Card("GPU-a"))
    made = []
    for number in (1, 2):
        specs = [JobSpec(i, name, "x.yaml", "command", 1, Resources(jobs_per_gpu=4)) for i, name in enumerate("abc")]
        state = RunState(jobs={spec.name: Job(spec) for spec in specs})
        made.append(Run(Leases(f"run-{number}", tmp_path / "leases"), GPUManager.detect(), state))
    yield made[0], made[1]
    for run in made:
        for name in list(run.shims):
            run.kill(name)
        run.gpus.close()


def test_two_runs_share_the_slots_of_a_card(runs: tuple[Run, Run]) -> None:
    """Four quarters are given out in all, and the next one when one of the other run's jobs ends."""
    first, second = runs
    assert first.turn() == ["a", "b", "c"]
    assert second.turn() == ["a"]
    assert (first.granted_gib(), second.granted_gib()) == (12, 4)
    assert second.reasons() == ["4 of 4 slots in use (GPU 0: leased to run run-1)"] * 2
    first.kill("b")
    assert second.turn() == ["a", "b"]


def test_a_run_whose_processes_are_gone_leaves_its_part(runs: tuple[Run, Run]) -> None:
    """Kill -9 of everything: nobody releases, and the other run goes on."""
    first, second = runs
    first.turn()
    for shim in first.shims.values():
        shim.kill()
        shim.communicate()
    first.shims.clear()
    assert second.turn() == ["a", "b", "c"]


def test_what_leased_processes_use_counts_once(nvml: StandIn, runs: tuple[Run, Run]) -> None:
    """The other run's jobs fill their grants: that is not taken off once more."""
    first, second = runs
    first.turn()
    nvml.put(*(Use("GPU-a", shim.pid, 4 * GIB) for shim in first.shims.values()))
    (card,) = second.look().devices
    assert (card.foreign_bytes, card.leased_bytes, card.leased_to) == (0, 12 * GIB, ("run-1",))
    assert second.turn() == ["a"]
    assert second.granted_gib() == 4


def test_a_stranger_takes_and_gives_back(
    nvml: StandIn, runs: tuple[Run, Run], stranger: subprocess.Popen[bytes]
) -> None:
    """What a program takes between two turns is never granted, and is when it has ended."""
    first, second = runs
    nvml.put(Use("GPU-a", stranger.pid, 15 * GIB))
    assert (first.turn(), second.turn()) == ([], [])
    assert first.reasons()[0] == "needs at least 1GiB on one card, 1GiB free on GPU 0 (15GiB held by other programs)"
    stranger.kill()
    stranger.wait()
    assert first.turn() == ["a", "b", "c"]
    assert (second.turn(), first.granted_gib() + second.granted_gib()) == (["a"], 16)


def test_a_stranger_between_look_and_lease(nvml: StandIn, runs: tuple[Run, Run]) -> None:
    """The part that another run leased since the look is not leased again."""
    first, second = runs
    me = identify()
    assert me is not None
    machine = second.look()
    claims = [Claim(placed.job, 1, placed.allocation) for placed in place(second.state, machine)]
    assert len(claims) == 3
    first.turn()
    assert [claim.job for claim in second.leases.acquire(claims, me, machine.devices)] == ["a"]
