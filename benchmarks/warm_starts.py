"""Short trainings on 2 slots: forked from an image, cold, and as plain scripts under GNU parallel; one loss for all."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml

from benchmarks.measure import ROOT, Figure, Skipped, compared, in_turn, product, wall_ms
from benchmarks.table import main

ROUNDS = 2
JOBS = 8
TORCH_JOBS = 8
SLOTS = 2
HERE = Path(__file__).parent
GNU = "GNU parallel -j2, the same script"
COLD, FIRST, KEPT = "run --cold", "run, its image included", "run, with a kept image"
TORCH_VARIABLE = "BENCH_TORCH_PYTHON"
"""An interpreter that has PyTorch; else the one that runs this is asked."""
PRIVATE = "memory of its own"


def measure() -> list[Figure]:
    """Return seconds for all jobs, and the memory that each had for itself.

    Raises:
        Skipped: There is no GNU parallel, or no Keras.
    """
    if shutil.which("parallel") is None:
        raise Skipped("GNU parallel is not installed: apt-get install parallel")
    with tempfile.TemporaryDirectory() as folder:
        script = [sys.executable, str(HERE / "tiny_keras.py"), str(ROOT / "sample_data" / "images")]
        keras = _Makespan(Path(folder) / "keras", script, ("2",), ["keras", "PIL.Image"], JOBS)
        figures = keras.figures(f"{JOBS} Keras jobs", {FIRST: "2.5 times faster", KEPT: "4.5 times faster"})
        figures += keras.memory()
        python = torch_python()
        if python is not None:
            torch = _Makespan(
                Path(folder) / "torch", [python, str(HERE / "tiny_torch.py")], ("20",), ["torch"], TORCH_JOBS
            )
            figures += torch.figures(f"{TORCH_JOBS} torch jobs", {KEPT: "8 times faster, a job"})
    return figures


def torch_python() -> str | None:
    """Return an interpreter that has PyTorch; None, and a line on standard error, where there is none."""
    python = os.environ.get(TORCH_VARIABLE, sys.executable)
    if subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0:
        return python
    print(f"no PyTorch: its rows are left out ({TORCH_VARIABLE} names an interpreter that has it)", file=sys.stderr)
    return None


class _Makespan:
    """The same script, so many times, on two slots."""

    def __init__(self, folder: Path, script: list[str], words: tuple[str, ...], warm: list[str], jobs: int) -> None:
        self.folder, self.script, self.words, self.jobs = folder, script, words, jobs
        self.configs = folder / "configs"
        self.configs.mkdir(parents=True)
        for number in range(jobs):
            config = {"command": [*script, str(number), *words], "warm": warm, "code": False}
            (self.configs / f"job{number}.yaml").write_text(yaml.safe_dump(config))
        (folder / "seeds").write_text("".join(f"{number}\n" for number in range(jobs)))
        self.losses: dict[str, dict[str, str]] = {}
        self.private: dict[str, list[float]] = {}

    def figures(self, what: str, goals: dict[str, str]) -> list[Figure]:
        """Return the seconds of each way, and check that all computed the same."""
        threads = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
        cases: dict[str, Callable[[], float]] = {
            GNU: lambda: self._parallel(threads),
            COLD: lambda: self._run(COLD, "--cold"),
            FIRST: lambda: self._run(FIRST),
            KEPT: lambda: self._run(KEPT, "--keep-warm", "10min"),
        }
        self._run(KEPT, "--keep-warm", "10min")  # makes the image that the others of this name find
        rows = compared(in_turn(cases, ROUNDS, warm_up=0), GNU, "s", goals)
        one, *others = self.losses.values()
        if any(other != one for other in others):
            message = f"the ways to start gave different losses: {self.losses}"
            raise RuntimeError(message)
        return [Figure(f"{what}: {row.what}", *_rest(row)) for row in rows]

    def memory(self) -> list[Figure]:
        """Return what each job had for itself at its end, in MiB."""
        found: list[Figure] = []
        for name in (COLD, FIRST):
            values = tuple(self.private[name])
            value = sum(values) / len(values)
            first = found[0].value if found else None
            found.append(
                Figure(
                    f"{PRIVATE}, {name}",
                    value,
                    "MiB",
                    values,
                    ratio=value / first if first else None,
                    peer=f"{PRIVATE}, {COLD}" if first else "",
                    goal="a third" if first else "",
                )
            )
        return found

    def _parallel(self, threads: dict[str, str]) -> float:
        out = self.folder / "parallel.txt"
        argv = [
            "parallel",
            "--will-cite",
            "--quote",
            f"-j{SLOTS}",
            "-a",
            str(self.folder / "seeds"),
            *self.script,
            "{}",
            *self.words,
        ]
        took = wall_ms(
            argv, self.folder, stdout=out, env={"PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": "-1", **threads}
        )
        self.losses[GNU] = {str(place): loss for place, loss in enumerate(sorted(_losses(out.read_text())))}
        return took / 1000

    def _run(self, name: str, *options: str) -> float:
        runs = self.folder / "runs"
        argv = product(
            "--runs-dir", runs, "run", self.configs, "--max-parallel", str(SLOTS), "--gpus", "none", *options
        )
        images = self.folder / ("kept" if name == KEPT else "none")  # the others are not to find the one that is kept
        took = wall_ms(argv, self.folder, env={"PARALLEL_ML_IMAGES": str(images)})
        text = "\n".join(_printed(path) for path in sorted(max(runs.iterdir()).glob("jobs/*/log.jsonl")))
        started_warm = text.count("started warm")
        if started_warm != (0 if name == COLD else self.jobs):
            message = f"{name}: {started_warm} of {self.jobs} jobs were started warm"
            raise RuntimeError(message)
        self.losses[name] = {str(place): loss for place, loss in enumerate(sorted(_losses(text)))}
        self.private[name] = [float(found) for found in re.findall(r"private=([\d.]+)", text)]
        return took / 1000


def _printed(path: Path) -> str:
    return "\n".join(json.loads(line)["message"] for line in path.read_text().splitlines())


def _losses(text: str) -> list[str]:
    return re.findall(r"loss=([\d.]+)", text)


def _rest(row: Figure) -> tuple[float, str, tuple[float, ...], float | None, str, str]:
    return row.value, row.unit, row.samples, row.ratio, row.peer, row.goal


if __name__ == "__main__":
    sys.exit(main("warm_starts"))
