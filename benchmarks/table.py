"""Running claims, and telling what came out: a table for people, JSON for programs."""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Figure, Skipped
from benchmarks.plot import svg

CLAIMS = ("imports", "commands", "trivial_jobs", "warm_starts", "pauses", "threads", "refill", "logs", "supervisor")
RESULTS = ROOT / "benchmarks" / "results"


def main(*names: str) -> int:
    """Measure the claims that are named, print one table, keep the JSON; return 1 where one could not be measured."""
    unknown = [name for name in names if name not in CLAIMS]
    if unknown:
        print(f"no claim {unknown[0]}; there are: {', '.join(CLAIMS)}", file=sys.stderr)
        return 2
    found, skipped, code = {}, {}, 0
    for name in names or CLAIMS:
        sys.stderr.write(f"measuring {name} ...\n")
        try:
            found[name] = importlib.import_module(f"benchmarks.{name}").measure()
        except Skipped as reason:
            skipped[name] = str(reason)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            skipped[name] = f"failed: {error}"
            code = 1
    told = {"machine": machine(), "claims": {name: [asdict(one) for one in all_] for name, all_ in found.items()}}
    path = _keep({**told, "skipped": skipped}, svg(found))
    print("\n".join(lines(found, skipped, told["machine"])))
    print(f"every round: {path.relative_to(ROOT)}; the ratios as a picture: {path.with_suffix('.svg').name}")
    return code


def machine() -> dict[str, Any]:
    """Return what the figures were measured on, how busy it was, and the commit that they are of."""
    try:
        commit = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],  # noqa: S607 - found by PATH, as everywhere
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = "not known"
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_name(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "commit": commit,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def lines(found: dict[str, list[Figure]], skipped: dict[str, str], on: dict[str, Any]) -> list[str]:
    """Return the table."""
    rows: list[tuple[str, ...]] = [("claim", "what", "median", "spread", "ratio", "against", "goal")]
    for name, figures in found.items():
        rows += [(name, *_cells(figure)) for figure in figures]
    rows += [(name, f"left out: {reason}", "", "", "", "", "") for name, reason in skipped.items()]
    widths = [max(len(row[column]) for row in rows if not row[1].startswith("left out")) for column in range(7)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    head = (
        f"{on['cores']} cores, {on['cpu']}, {on['memory_gib']} GiB, Linux {on['kernel']}, Python {on['python']},"
        f" load {on['load'][0]}, commit {on['commit']}"
    )
    return [head, "only ratios hold on another machine, or beside other work", "", *table]


def _cells(figure: Figure) -> Sequence[str]:
    spread = f"{_short(min(figure.samples))}..{_short(max(figure.samples))}" if len(figure.samples) > 1 else ""
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} x"
    return figure.what, f"{_short(figure.value)} {figure.unit}", spread, ratio, figure.peer, figure.goal


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _keep(told: dict[str, Any], picture: str) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y-%m-%d-%H%M%S', time.gmtime())}.json"
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".svg").write_text(picture, encoding="utf-8")
    return path


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
