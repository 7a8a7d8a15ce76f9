"""What it is worth that each job computes with its share of the cores: two at a time, against all cores for each."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.measure import ROOT, Figure, compared, in_turn, product, wall_ms
from benchmarks.table import main
from benchmarks.warm_starts import torch_python

ROUNDS = 3
JOBS = 4
HERE = Path(__file__).parent
ALL, SHARE = "all cores for each", "its share of the cores"
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def measure() -> list[Figure]:
    """Return seconds for all jobs of a framework; interpreters start cold, so the difference is that of the threads."""
    keras = [sys.executable, str(HERE / "tiny_keras.py"), str(ROOT / "sample_data" / "images"), "0", "20"]
    figures = _figures(f"{JOBS} Keras jobs", keras)
    python = torch_python()
    if python is not None:
        figures += _figures(f"{JOBS} torch jobs", [python, str(HERE / "tiny_torch.py"), "0", "20000"])
    return figures


def _figures(what: str, command: list[str]) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        every = dict.fromkeys(VARIABLES, str(os.cpu_count()))
        argv = {case: _argv(here / case.split()[0], command, env) for case, env in ((ALL, every), (SHARE, {}))}
        cases = {case: (lambda words=words: wall_ms(words, here) / 1000) for case, words in argv.items()}
        rows = compared(in_turn(cases, ROUNDS, warm_up=0), ALL, "s", {})
    return [
        Figure(f"{what}, {row.what}", row.value, row.unit, row.samples, ratio=row.ratio, peer=row.peer) for row in rows
    ]


def _argv(folder: Path, command: list[str], env: dict[str, str]) -> list[str]:
    folder.mkdir()
    for number in range(JOBS):
        tree = {"command": command, "env": env, "code": False}
        (folder / f"job{number}.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    runs = folder.with_name(f"{folder.name}-runs")
    return product("--runs-dir", runs, "run", folder, "--max-parallel", "2", "--gpus", "none")


if __name__ == "__main__":
    sys.exit(main("threads"))
