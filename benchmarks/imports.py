"""`import parallel_ml` costs next to nothing: it is in scripts of the user's own that only call `report`."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measure import NOTHING, Figure, compared, in_turn, wall_ms
from benchmarks.table import main

ROUNDS = 21
PEER = "python -c pass"


def measure() -> list[Figure]:
    """Return what the package and its public names cost to import."""
    lines = {
        "import parallel_ml": "import parallel_ml",
        "import report, should_stop": "from parallel_ml import report, should_stop",
        "import ParallelMLExecutor": "from parallel_ml import ParallelMLExecutor",
    }
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        cases = {PEER: partial(wall_ms, NOTHING, here)}
        for what, line in lines.items():
            cases[what] = partial(wall_ms, (sys.executable, "-c", line), here)
        return compared(in_turn(cases, ROUNDS), PEER, "ms", {})


if __name__ == "__main__":
    sys.exit(main("imports"))
