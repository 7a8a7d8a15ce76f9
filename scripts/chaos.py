"""Kill the processes of runs at random and see that nothing is lost: `scripts/chaos` sets up and calls this."""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `tests`, which is no part of the package

from tests.chaos.steps import supervisor_dies_at
from tests.chaos.storm import Report, states_of, storm
from tests.chaos.training import training_storm
from tests.chaos.verdict import faults
from tests.chaos.world import Plan, Victim, World


def main() -> int:
    """Run what was asked for; return the exit code."""
    args = _arguments()
    base = Path(tempfile.mkdtemp(prefix="parallel-ml-chaos-", dir=args.folder))
    seed = random.SystemRandom().randrange(1_000_000) if args.seed is None else args.seed
    give_up_at = time.monotonic() + args.minutes * 60
    totals: Counter[str] = Counter()
    numbers = itertools.count(args.seed or 1 if args.steps else seed)
    for number in numbers:
        if time.monotonic() > give_up_at or totals["runs"] == args.rounds:
            break
        report = _round(args)(base / str(number), number)
        print(report, flush=True)
        totals.update(report.kills)
        totals.update(runs=1, jobs=report.jobs, orders=report.orders, wrong=bool(report.faults))
        if report.faults:
            print(
                f"  kept: {base / str(number)}; again: scripts/chaos --rounds 1 --seed {number} {_again(args)}",
                flush=True,
            )
        else:
            shutil.rmtree(base / str(number))
        if args.steps and not report.kills:  # the supervisor came to its end: there is no further step
            break
    print(", ".join(f"{count} {what}" for what, count in sorted(totals.items())), flush=True)
    if not totals["wrong"]:
        shutil.rmtree(base)
    return 1 if totals["wrong"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--rounds", type=int, help="the most runs")
    parser.add_argument("--seed", type=int, help="the first run's (with --steps: the first step); then the next")
    parser.add_argument("--jobs", type=int, default=7, help="how many a run has (default: 7)")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long each run is disturbed (default: 12)")
    parser.add_argument("--folder", help="where the runs are made (default: the folder for temporary files)")
    parser.add_argument("--training", action="store_true", help="built-in trainings, and their weights bit by bit")
    parser.add_argument("--steps", action="store_true", help="one run for each step at which a supervisor can die")
    return parser.parse_args()


def _again(args: argparse.Namespace) -> str:
    """Return the arguments, beside the seed, that decide what a run is."""
    kind = "--training " * args.training + "--steps " * args.steps
    return f"{kind}--jobs {args.jobs} --seconds {args.seconds:g}"


def _round(args: argparse.Namespace) -> Callable[[Path, int], Report]:
    if args.steps:
        return _steps
    if args.training:
        return lambda folder, seed: training_storm(folder, seed, seconds=max(60.0, args.seconds))
    return lambda folder, seed: storm(folder, seed, jobs=args.jobs, seconds=args.seconds)


def _steps(folder: Path, step: int) -> Report:
    """Kill a supervisor at its `step`-th step; it is followed by one that is not killed."""
    begun = time.monotonic()
    plans = [Plan("flaky", 4, fails=(2,)), Plan("needs", 2, depends_on=("flaky",)), Plan("plain", 6, child=True)]
    world = World(folder, plans)
    try:
        world.drive(supervisor_dies_at(step))
        assert world.supervisor is not None  # noqa: S101 - for the type checker
        if world.supervisor.wait() < 0:
            world.kills.append(Victim(world.supervisor.pid, "supervisor", "", 0))
        found = world.finish() or faults(world)
        kills = Counter(victim.role for victim in world.kills)
        seconds = time.monotonic() - begun
        return Report(step, len(plans), kills, 0, 2, states_of(world), seconds, tuple(found))
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main())
