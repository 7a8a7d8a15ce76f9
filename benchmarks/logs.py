"""A job that prints a great deal, in a run and into a plain file: as fast as it can, and 100,000 lines a second.

What the job itself needs for its printing is compared: it waits when nobody reads its pipe. Every line must be in the
log, in order. A run gives Python jobs PYTHONUNBUFFERED, so that a line is there when it is printed; both ways are
measured, with the same on both sides.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Figure, compared, in_turn, product, wall_ms
from benchmarks.table import main
from parallel_ml.store.layout import RunLayout

ROUNDS = 5
FLOOD_LINES = 1_000_000
PACED_LINES = 300_000
PACED_PER_S = 100_000
PLAIN, OURS = "a plain file", "a job of a run"
_PRINTER = """\
import sys, time
lines, per_s, told = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
begun, block = time.perf_counter(), 1000
for first in range(0, lines, block):
    early = first / per_s - (time.perf_counter() - begun) if per_s else 0
    if early > 0:
        time.sleep(early)
    for number in range(first, min(lines, first + block)):
        sys.stdout.write(f"line {number}: loss 0.1234 accuracy 0.9876\\n")
    if per_s:
        sys.stdout.flush()
sys.stdout.flush()
with open(told, "w") as stream:
    stream.write(str(time.perf_counter() - begun))
"""


def measure() -> list[Figure]:
    """Return the seconds that the printing takes, and the whole run's pace."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "printer.py").write_text(_PRINTER)
        flood = _kind(here, "1,000,000 lines", FLOOD_LINES, 0, unbuffered="1")
        blocks = _kind(here, "1,000,000 lines, buffered", FLOOD_LINES, 0, unbuffered="")
        paced = _kind(here, "300,000 lines at 100,000/s", PACED_LINES, PACED_PER_S, unbuffered="1", goal="under 1.1 x")
        return [*flood, *blocks, *paced]


def _kind(here: Path, what: str, lines: int, per_s: int, *, unbuffered: str, goal: str = "") -> list[Figure]:
    """Measure one kind of printing, in a run and without."""
    told = here / "told"
    command = [sys.executable, "printer.py", str(lines), str(per_s), str(told)]
    config = here / "printer.yaml"
    env = {"PYTHONUNBUFFERED": unbuffered}
    config.write_text(json.dumps({"command": command, "env": env}))
    runs = here / "runs"

    def plain() -> float:
        wall_ms(command, here, stdout=here / "plain.log", env=env)
        return float(told.read_text())

    def ours() -> float:
        wall_ms(product("--runs-dir", runs, "run", config, "--gpus", "none"), here)
        log = RunLayout(max(runs.iterdir())).job("printer").log
        _check(log, lines)
        log.unlink()
        return float(told.read_text())

    names = {f"{PLAIN}, {what}": plain, f"{OURS}, {what}": ours}
    return compared(in_turn(names, ROUNDS), f"{PLAIN}, {what}", "s", {f"{OURS}, {what}": goal})


def _check(log: Path, lines: int) -> None:
    """Raise where a line is missing or out of order: a log that loses lines is no faster."""
    expected = 0
    with log.open("rb") as stream:
        for record in stream:
            if b'"type": "stdout"' not in record:
                continue
            if f'"line {expected}: '.encode() not in record:
                message = f"line {expected} is not where it belongs"
                raise RuntimeError(message)
            expected += 1
    if expected != lines:
        message = f"{expected} of {lines} lines are in the log"
        raise RuntimeError(message)


if __name__ == "__main__":
    sys.exit(main("logs"))
