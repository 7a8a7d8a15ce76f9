"""Chaos: a run of random jobs whose processes are killed, and which is asked for this and that, at random times."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from parallel_ml.store.orders import OrderKind, new_order
from parallel_ml.store.run_view import RunView
from tests.chaos.verdict import faults
from tests.chaos.world import Plan, World

_ENOUGH = 2
"""A third lost attempt ends a job, which is right, and the end of what can be done to it."""


@dataclass(frozen=True)
class Report:
    """What was done to a run, and what was wrong with it at the end."""

    seed: int
    jobs: int
    kills: Counter[str]
    orders: int
    supervisors: int
    states: Counter[str]
    seconds: float
    faults: tuple[str, ...]

    def __str__(self) -> str:
        """Return it as one line, and one for each fault."""
        kills = ", ".join(f"{count} {role}" for role, count in sorted(self.kills.items())) or "none"
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        head = (
            f"seed {self.seed}: {self.jobs} jobs ({states}), kill -9 of {kills}; {self.orders} orders, "
            f"{self.supervisors} supervisors, {self.seconds:.1f} s"
        )
        return "\n".join([head, *(f"  FAULT {fault}" for fault in self.faults)])


def random_plans(rng: random.Random, count: int) -> list[Plan]:
    """Return jobs of all kinds."""
    plans: list[Plan] = []
    for number in range(count):
        name, units = f"job{number}", rng.randint(3, 40)
        unit_s, child = rng.choice([0.005, 0.02, 0.05]), rng.random() < 0.25
        fails: tuple[int, ...] = ()
        depends_on: tuple[str, ...] = ()
        max_attempts = 12
        kind = rng.random()
        if kind < 0.25:
            fails = tuple(sorted(rng.randint(1, units) for _ in range(rng.randint(1, 2))))
        elif kind < 0.4:
            fails, max_attempts = (1,) * 8, rng.randint(1, 3)
        elif kind < 0.6 and plans:
            depends_on = (rng.choice(plans).name,)
        plans.append(Plan(name, units, unit_s, fails, child, max_attempts=max_attempts, depends_on=depends_on, gpus=1))
    return plans


def storm(folder: Path, seed: int, *, jobs: int, seconds: float) -> Report:
    """Make a run of random jobs, disturb it for so long, let it come to its end, and judge it.

    The seed decides about the jobs and the order of what is done to them; the machine decides how far they are then.
    """
    rng, begun = random.Random(seed), time.monotonic()  # noqa: S311 - no secret
    world = World(folder, random_plans(rng, jobs), max_parallel=rng.randint(2, jobs), gpus="sim:3x16GiB")
    try:
        supervisors = disturb(world, rng, seconds)
        found = world.finish() or faults(world)
        kills = Counter(victim.role for victim in world.kills)
        return Report(
            seed, jobs, kills, len(world.orders), supervisors, states_of(world), time.monotonic() - begun, tuple(found)
        )
    finally:
        world.close()


def states_of(world: World) -> Counter[str]:
    """Return how many jobs are in each state."""
    return Counter(job.state.value for job in RunView(world.layout).state.jobs.values())


def disturb(
    world: World, rng: random.Random, seconds: float, *, longest_pause_s: float = 1.0, reckless: float = 0.1
) -> int:
    """Disturb a run for so long, or until it is over; return how many supervisors it had.

    Args:
        world: The run.
        rng: Decides what is done.
        seconds: How long, at the most.
        longest_pause_s: Between two things that are done.
        reckless: The share of what would end a job for good that is done all the same.
    """
    supervisors, give_up_at = 0, time.monotonic() + seconds
    while time.monotonic() < give_up_at and not world.is_over:
        if not world.is_driven:
            time.sleep(rng.choice([0.0, 0.0, 0.3]))
            world.drive()
            supervisors += 1
        time.sleep(rng.random() ** 2 * longest_pause_s)
        _disturb(world, rng, reckless)
    if not world.is_over:  # what was paused at random would wait for ever
        world.order(new_order(OrderKind.RESUME))
    return supervisors


def _disturb(world: World, rng: random.Random, reckless: float) -> None:
    """Do one thing to the run."""
    what = rng.choices(["supervisor", "shim", "job", "everything", "order"], [4, 4, 4, 1, 5])[0]
    victims = sorted(world.processes(), key=lambda one: (one.job, one.pid))
    suffered = Counter(job for job, _ in {(one.job, one.attempt) for one in world.kills if one.role in {"shim", "job"}})
    victims = [one for one in victims if suffered[one.job] < _ENOUGH or rng.random() < reckless]
    if what == "order":
        _ask(world, rng, reckless)
    elif what == "supervisor":
        world.kill_supervisor()
    elif what == "everything":
        rng.shuffle(victims)
        if rng.random() < 0.5:
            world.kill_supervisor()
        for victim in victims:
            world.kill(victim)
        world.kill_supervisor()
    elif some := [one for one in victims if one.role == what]:
        world.kill(rng.choice(some))


def _ask(world: World, rng: random.Random, reckless: float) -> None:
    """Ask the run for something, of one job or of all."""
    job = rng.choice(world.plans).name if rng.random() < 0.8 else None
    kind = rng.choices([OrderKind.PAUSE, OrderKind.RESUME, OrderKind.STOP], [3, 6, 10 * reckless if job else 0])[0]
    freeze, at_once = kind is OrderKind.PAUSE and rng.random() < 0.4, kind is OrderKind.STOP and rng.random() < 0.5
    world.order(new_order(kind, job, freeze=freeze, at_once=at_once))
