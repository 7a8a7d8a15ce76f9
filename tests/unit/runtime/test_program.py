"""Finding the user's program in a command line."""

from __future__ import annotations

import pytest

from parallel_ml.runtime.program import ProgramKind, read_command

FILES = frozenset({"train.py", "src/train.py", "acc.yaml", "run.sh", "fit.R", "fit.jl", "./train", "-odd.py"})


@pytest.mark.parametrize(
    ("line", "kind", "word", "before"),
    [
        ("python train.py --lr 1", "script", "train.py", "python"),
        ("/opt/env/bin/python3.11 -u -X dev -W ignore -OO train.py", "script", "train.py", None),
        ("python -X dev", "other", "python", ""),
        ("python -Wignore -Xdev train.py", "script", "train.py", None),
        ("python --check-hash-based-pycs always train.py", "script", "train.py", None),
        ("python -- -odd.py", "script", "-odd.py", "python --"),
        ("python -", "other", "python", ""),
        ("python -m pkg.train x", "module", "pkg.train", "python"),
        ("python -mpkg.train", "module", "pkg.train", "python"),
        ("python -uBm pkg.train -m", "module", "pkg.train", "python -uB"),
        ("python -Im pkg.train", "other", "python", ""),
        ("python -P -m pkg.train", "other", "python", ""),
        ("python -m", "other", "python", ""),
        ("python -c pass", "text", "pass", "python"),
        ("python -m torch.distributed.run --nproc_per_node 2 src/train.py x.py", "script", "src/train.py", None),
        ("torchrun --nproc_per_node 2 src/train.py", "script", "src/train.py", None),
        ("torchrun -m pkg.train", "other", "torchrun", ""),
        ("accelerate launch --config_file acc.yaml train.py", "script", "train.py", None),
        ("mpirun -n 2 python -m pkg.train", "module", "pkg.train", "mpirun -n 2 python"),
        ("env A=1 nice -n 5 python train.py", "script", "train.py", "env A=1 nice -n 5 python"),
        ("uv run train.py", "script", "train.py", "uv run"),
        ("timeout 60 ./train", "script", "./train", "timeout 60"),
        ("bash run.sh", "script", "run.sh", "bash"),
        ("bash -eo pipefail run.sh", "script", "pipefail", None),
        ("bash -e -o pipefail run.sh", "script", "run.sh", None),
        ("bash -lc run.sh", "shell", "run.sh", "bash -lc"),
        ("Rscript --vanilla fit.R", "script", "fit.R", None),
        ("julia --project=. fit.jl", "script", "fit.jl", None),
        ("./train --fast", "file", "./train", ""),
        ("sleep 10", "other", "sleep", ""),
        ("mytool train.py", "other", "mytool", ""),
    ],
)
def test_the_program_of_a_command_line(line: str, kind: str, word: str, before: str | None) -> None:
    """Which word it is, and what stands in front of it."""
    argv = line.split()
    program = read_command(argv, FILES.__contains__)
    assert (program.kind, program.word) == (ProgramKind(kind), word)
    if before is not None:
        assert " ".join(program.before) == before
    if program.kind in (ProgramKind.SCRIPT, ProgramKind.FILE, ProgramKind.SHELL):
        assert [*program.before, program.word, *program.after] == argv
