"""What a job's process is forked from: an interpreter that has imported some packages, in some environment.

Two jobs share an image where all of that is the same. What a package reads only when it is used is no part of it: the
child sets that itself, before it does anything (TF_NUM_INTRAOP_THREADS, TF_DETERMINISTIC_OPS, CUDA_VISIBLE_DEVICES).
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from parallel_ml.runtime.program import ProgramKind, read_command

TRAINING = "parallel_ml.training.image"
"""Importing this module imports all that the built-in training needs."""
HEARTBEAT_S = 60.0
"""A built-in training says that it has begun a second after its fork; a child that hangs never does."""
_AT_IMPORT = (
    "CONDA_",
    "CUBLAS_",
    "CUDA_",
    "CUDNN_",
    "GLIBC_",
    "GOMP_",
    "GOTO_",
    "KERAS_",
    "KMP_",
    "LANG",
    "LC_",
    "LD_",
    "MALLOC_",
    "MKL_",
    "MPL",
    "NPY_",
    "NUMBA_",
    "NUMEXPR_",
    "NVIDIA_",
    "OMP_",
    "OPENBLAS_",
    "PROTOCOL_BUFFERS_",
    "PYTHON",
    "PYTORCH_",
    "SSL_",
    "TF_",
    "TORCH",
    "VECLIB_",
    "VIRTUAL_ENV",
    "XDG_",
    "XLA_",
)
_AT_IMPORT_EXACTLY = frozenset(("HOME", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"))
_AT_USE = frozenset(
    ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
) | {"TF_DETERMINISTIC_OPS", "TF_FORCE_GPU_ALLOW_GROWTH", "XLA_CLIENT_MEM_FRACTION", "XDG_SESSION_ID"}


@dataclass(frozen=True)
class Origin:
    """What a process is forked from.

    Attributes:
        interpreter: The Python that has done the imports.
        modules: What it has imported, in this order; none for a shim alone.
        env: The variables that an import may read.
    """

    interpreter: str
    modules: tuple[str, ...]
    env: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """What names it: the same for all that may share it, and for nothing else."""
        told = [self.interpreter, self.modules, self.env, _files_of(self.modules), _surroundings()]
        return hashlib.sha256(json.dumps(told).encode("utf-8", "surrogatepass")).hexdigest()[:24]

    @property
    def label(self) -> str:
        """What it is called where people read it."""
        names = ["training" if name == TRAINING else name for name in self.modules]
        return "+".join(names) or "light"


def origin_of(interpreter: str, modules: Sequence[str], env: Mapping[str, str]) -> Origin:
    """Return what a process is forked from, given its whole environment."""
    seen = {name: value for name, value in env.items() if _read_at_import(name)}
    return Origin(interpreter, tuple(modules), tuple(sorted(seen.items())))


def entry_of(argv: Sequence[str]) -> dict[str, object] | None:
    """Return what `python PROGRAM ...` runs, for an interpreter that is there already; None where only it can tell.

    >>> entry_of(["/usr/bin/python3", "-u", "train.py", "--epochs", "3"])
    {'script': 'train.py', 'arguments': ['--epochs', '3']}
    >>> entry_of(["python", "-m", "pkg.train"])
    {'module': 'pkg.train', 'arguments': []}
    >>> entry_of(["python", "-O", "train.py"]), entry_of(["nice", "python", "train.py"])
    (None, None)
    """
    program = read_command(argv, lambda _: True)
    if not program.before or os.path.basename(argv[0]) == "env" or set(program.before[1:]) - {"-u"}:
        return None
    if not os.path.basename(program.before[0]).startswith("python"):
        return None
    if program.kind is ProgramKind.SCRIPT:
        return {"script": program.word, "arguments": list(program.after)}
    if program.kind is ProgramKind.MODULE:
        return {"module": program.word, "arguments": list(program.after)}
    return None


def _read_at_import(name: str) -> bool:
    return name in _AT_IMPORT_EXACTLY or (name.startswith(_AT_IMPORT) and name not in _AT_USE)


@cache
def _files_of(modules: tuple[str, ...]) -> float:
    """Return when our own files were changed last: an image of another version of them is another image."""
    ours = Path(__file__).parent
    folders = [ours / "shim", *([ours.parent / "training"] if TRAINING in modules else [])]
    return max(path.stat().st_mtime for folder in folders for path in folder.glob("*.py"))


@cache
def _surroundings() -> list[object]:
    """Return what a process inherits beside its environment: limits, control group, namespaces, cores, niceness."""
    mask = os.umask(0o077)
    os.umask(mask)
    limits = [resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if name[:7] == "RLIMIT_"]
    groups = Path("/proc/self/cgroup")
    spaces = sorted(f"{entry.name}:{os.readlink(entry)}" for entry in Path("/proc/self/ns").iterdir())
    cores = sorted(os.sched_getaffinity(0))
    return [mask, limits, groups.read_text() if groups.exists() else "", spaces, cores, os.nice(0), os.getuid()]
