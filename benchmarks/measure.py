"""Timing things side by side: rounds in turn, medians, ratios within a round.

A machine that other work shares is slow for seconds at a time. So the cases of one claim take turns, and a ratio is the
median of the ratios of each round: both of its halves saw the same machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTHING = (sys.executable, "-c", "pass")
"""The least that any Python program costs."""
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        what: What was measured.
        value: The median, in `unit`.
        samples: Every round's value; the first rounds are left out where a warm-up was asked for.
        ratio: How many times the peer's value, the median over the rounds; None where there is no peer.
        peer: What it is compared with.
        goal: What it should be, in words.
    """

    what: str
    value: float
    unit: str
    samples: tuple[float, ...] = ()
    ratio: float | None = None
    peer: str = ""
    goal: str = ""


class Skipped(Exception):
    """A claim cannot be measured here; the message says why."""


def environment() -> dict[str, str]:
    """Return the environment of what is measured: this tree's package, and no setting that changes how Python runs."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PARALLEL_ML_", "PYTHON"))}
    return {**env, "PYTHONPATH": str(ROOT)}


def product(*words: str | Path) -> list[str]:
    """Return the command line of this project with arguments."""
    return [sys.executable, "-m", "parallel_ml", *map(str, words)]


def wall_ms(
    argv: Sequence[str],
    cwd: Path,
    *,
    codes: Sequence[int] = (0,),
    stdout: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> float:
    """Run a command to its end and return its wall-clock milliseconds.

    Args:
        argv: The command.
        cwd: Where it runs.
        codes: The exit codes that are right.
        stdout: Where its output goes; None is nowhere.
        env: What its environment has beside `environment`.

    Raises:
        RuntimeError: It ended with another code: what failed quickly is not quick.
    """
    with Path(stdout or os.devnull).open("wb") as out:
        begun = time.perf_counter()
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
            check=False,
        )
        took_ms = (time.perf_counter() - begun) * 1000
    if done.returncode not in codes:
        said = done.stderr.decode(errors="replace").strip()
        message = f"{' '.join(argv)} ended with {done.returncode}: {said[-500:]}"
        raise RuntimeError(message)
    return took_ms


def in_turn(cases: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: int = 1) -> dict[str, list[float]]:
    """Run every case once a round and return each one's values; the first `warm_up` rounds do not count."""
    values: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(warm_up + rounds):
        for name, case in cases.items():
            value = case()
            if number >= warm_up:
                values[name].append(value)
    return values


def compared(values: Mapping[str, Sequence[float]], peer: str, unit: str, goals: Mapping[str, str]) -> list[Figure]:
    """Return a figure a case, each with its ratio to the case called `peer`."""
    figures = []
    for what, samples in values.items():
        ratio = None
        if what != peer:
            ratio = statistics.median(own / other for own, other in zip(samples, values[peer], strict=True))
        figures.append(
            Figure(
                what,
                statistics.median(samples),
                unit,
                tuple(samples),
                ratio=ratio,
                peer=peer if ratio is not None else "",
                goal=goals.get(what, ""),
            )
        )
    return figures
