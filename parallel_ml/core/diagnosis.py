"""Why an attempt failed, in plain words: a class, the line that shows it, and one thing to try. Pure text work.

The last exception of the output decides. What other ranks or a launcher say after it (NCCL, a worker that was killed)
counts only where nothing before it is clearer: one process out of memory makes all others complain of the network.
The texts are those of TensorFlow 2.21, PyTorch 2.13, JAX 0.10, numpy and glibc; `tests/unit/core/test_diagnosis.py`
has each of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from parallel_ml.core.outcome import Diagnosis, FailureClass, Outcome, OutcomeKind

_ADVICE = {
    FailureClass.OUT_OF_MEMORY: "lower batch_size, or give it more of a card: resources.gpu_memory or exclusive: true",
    FailureClass.OUT_OF_HOST_MEMORY: "lower batch_size or the number of data workers, or run fewer jobs at once",
    FailureClass.NAN: "lower the learning rate, clip the gradients, or look for bad values in the data",
    FailureClass.DATA: "look at the file that the line names: is it there, readable and whole?",
    FailureClass.CONFIGURATION: "correct the option that the line names",
    FailureClass.IMPORT: "install what is missing into the interpreter that the command names",
    FailureClass.CUDA_MISMATCH: "install the framework for this machine's driver (nvidia-smi shows its CUDA version)",
    FailureClass.NCCL: "set NCCL_DEBUG=INFO in env and look at the first rank that complains",
    FailureClass.SEGFAULT: "set PYTHONFAULTHANDLER=1 in env to see where, and suspect native packages",
    FailureClass.KILLED: "something outside ended it: another user, a limit of the system, or a shutdown",
    FailureClass.DISK: "free some space (parallel_ml clean removes finished runs), then retry",
    FailureClass.TIME: "raise timeout, or train fewer epochs",
    FailureClass.START: "check command, cwd and the interpreter in the configuration",
    FailureClass.LOST: "retry: nothing says why it vanished",
    FailureClass.GPU_LOST: "look at parallel_ml gpus and the system's log; the card may need a reset",
    FailureClass.PROGRAM: "look at the end of its log: parallel_ml logs",
}

_C = FailureClass
_SIGNS: tuple[tuple[FailureClass, re.Pattern[str]], ...] = (
    (
        _C.DISK,
        re.compile(r"No space left on device|Disk quota exceeded|Read-only file system|\[Errno (28|30|122)\]"),
    ),
    (
        # Before the memory of cards: the same words, with the host's allocator in them.
        _C.OUT_OF_HOST_MEMORY,
        re.compile(
            r"DefaultCPUAllocator: (can't|not enough)|OOM when allocating tensor.*\b(device:CPU|allocator (cpu|mklcpu))"
            r"|^(\w+\.)*_?(Array)?MemoryError\b|numpy\S*MemoryError|Unable to allocate .* for an array|std::bad_alloc"
            r"|Cannot allocate memory|\[Errno 12\]|ran out of memory trying to allocate .*\bCPU\b"
            r"|RESOURCE_EXHAUSTED: Out of memory allocating \d+ bytes.*\b(cpu|CPU)\b"
        ),
    ),
    (
        _C.OUT_OF_MEMORY,
        re.compile(
            r"(CUDA|HIP|XPU|MPS backend) out of memory|would exceed per_process_memory_fraction limit"
            r"|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|torch\.(cuda\.)?OutOfMemoryError"
            r"|OOM when allocating tensor|ran out of memory trying to allocate|ResourceExhaustedError"
            r"|RESOURCE_EXHAUSTED: .*([Oo]ut of memory|OOM)|Dst tensor is not initialized|Failed to allocate memory for"
            r"|CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)|CUDNN_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation"
        ),
    ),
    (
        _C.CUDA_MISMATCH,
        re.compile(
            r"CUDA driver version is insufficient|NVIDIA driver on your system is too old|Found no NVIDIA driver"
            r"|no kernel image is available|forward compatibility was attempted|Torch not compiled with CUDA enabled"
            r"|lib(cu\w+|nv\w+|nccl)\.so[.\d]*: (cannot open shared object|undefined symbol|version)"
            r"|Loaded runtime CuDNN library: .* but source was compiled|CUDA_ERROR_(NO_DEVICE|INVALID_IMAGE|NO_BINARY)"
            r"|cuDNN version incompatibility|PTX was compiled with an unsupported toolchain|CUDA unknown error"
        ),
    ),
    (
        _C.IMPORT,
        re.compile(r"ModuleNotFoundError|ImportError|No module named|cannot open shared object file|undefined symbol"),
    ),
    (
        _C.NAN,
        re.compile(
            r"[Ll]oss (is|was|became) (nan|NaN|inf)|Input (X |y )?contains NaN|(NaN|nan|Nan) or [Ii]nf"
            r"|FloatingPointError|contains? (nan|NaN)s?\b|nan loss|loss: nan\b.*stopping|returned nan values"
        ),
    ),
    (
        _C.NCCL,
        re.compile(
            r"\bNCCL\b|\bnccl[A-Z]\w+|ProcessGroup(NCCL|Gloo)|[Ww]atchdog caught collective operation timeout"
            r"|DistBackendError|DistNetworkError"
        ),
    ),
    (
        _C.DATA,
        re.compile(
            r"^(\w+\.)*(FileNotFoundError|NotADirectoryError|IsADirectoryError|PermissionError|UnidentifiedImageError"
            r"|EmptyDataError|ParserError|JSONDecodeError|UnicodeDecodeError|BadZipFile|DataLossError|NotFoundError"
            r"|DatasetNotFoundError|UnpicklingError|EOFError)\b"
            r"|cannot identify image file|image file is truncated|No such file or directory|corrupted (record|file)"
        ),
    ),
    (
        _C.CONFIGURATION,
        re.compile(
            r": error: (unrecognized arguments|argument |the following arguments are required|ambiguous option)"
            r"|^(Usage|usage): |^(yaml\.\S+|omegaconf\.\S+|hydra\.\S+|argparse\.\S+|configparser\.\S+)"
            r"|No such option|(Could not|Unable to) (load|override|find) .*config|pydantic\S*ValidationError"
        ),
    ),
)
_LAST_WORDS = re.compile(r"^(\w+\.)*[A-Z]\w*(Error|Exception|Exit|Interrupt|Warning|Fault)\b(?!.*Warning:)")
"""A line that is the last of a Python traceback."""
_ECHO = re.compile(
    r"ChildFailedError|DataLoader worker|ProcessExitedException|ProcessRaisedException|BrokenPipe|BrokenProcessPool"
    r"|ConnectionReset|ConnectionRefused|RayTaskError|CalledProcessError|EOFError$|exited unexpectedly"
)
"""Exceptions that only pass on that another process has failed."""
_SIGNALS = {
    4: ("an illegal instruction (SIGILL)", "a package was built for another processor: install one for this machine"),
    6: ("an abort (SIGABRT)", None),
    7: ("a bus error (SIGBUS)", "shared memory may be too small for the data workers: use fewer of them"),
    8: ("a floating-point trap (SIGFPE)", None),
    11: ("a segmentation fault (SIGSEGV)", None),
}
_CRASHES = frozenset(_SIGNALS)
_BY_SHELL = 128
"""A shell ends with this plus the number of the signal that ended its child (POSIX 2.8.2)."""
_LONGEST_EVIDENCE = 300


def diagnose(
    outcome: Outcome,
    error: str | None,
    tail: Iterable[str] = (),
    *,
    near_limit: bool = False,
) -> Diagnosis | None:
    """Return what a failed attempt looks like; None for one that did not fail.

    Args:
        outcome: How it ended.
        error: What it said of it itself, or what is known, in a sentence.
        tail: The last lines of its output, oldest first.
        near_limit: Whether its memory stood near what it was granted when it was last measured.
    """
    fixed = _BY_OUTCOME.get(outcome.kind)
    if fixed is not None:
        return Diagnosis(fixed, _short(error), _ADVICE[fixed])
    if outcome.kind not in (OutcomeKind.ERROR, OutcomeKind.SIGNAL):
        return None
    found = read_output(error, tail)
    number = outcome.number or 0
    if outcome.kind is OutcomeKind.ERROR and number > _BY_SHELL and number - _BY_SHELL in (9, 15, *_CRASHES):
        number -= _BY_SHELL
    elif outcome.kind is OutcomeKind.ERROR:
        number = 0
    if found is not None and (found.kind is not FailureClass.PROGRAM or not number):
        return found
    if number in _CRASHES and near_limit:
        return Diagnosis(
            FailureClass.OUT_OF_MEMORY, _SIGNALS[number][0], _ADVICE[FailureClass.OUT_OF_MEMORY], suspected=True
        )
    if number in _CRASHES:
        what, better = _SIGNALS[number]
        return Diagnosis(FailureClass.SEGFAULT, what, better or _ADVICE[FailureClass.SEGFAULT])
    if number:
        return Diagnosis(FailureClass.KILLED, _short(error), _ADVICE[FailureClass.KILLED])
    return found or Diagnosis(FailureClass.PROGRAM, _short(error), _ADVICE[FailureClass.PROGRAM])


def read_output(error: str | None, tail: Iterable[str] = ()) -> Diagnosis | None:
    """Return what the last lines of a failed program's output say; None where they say nothing.

    Args:
        error: One more line that is later than all of `tail`, or None.
        tail: The last lines, oldest first.
    """
    lines = [line.strip() for line in (*tail, error or "") if line and line.strip()]
    echo: Diagnosis | None = None
    for line in reversed(lines):
        kind = next((kind for kind, sign in _SIGNS if sign.search(line)), None)
        last_words = _LAST_WORDS.search(line) is not None
        if kind is FailureClass.NCCL or _ECHO.search(line):
            echo = echo or _told(kind or FailureClass.PROGRAM, line)
        elif kind is not None:
            return _told(kind, line)
        elif last_words:
            return echo if echo is not None and echo.kind is FailureClass.NCCL else _told(FailureClass.PROGRAM, line)
    return echo


def _told(kind: FailureClass, line: str) -> Diagnosis:
    return Diagnosis(kind, _short(line), _ADVICE[kind])


def _short(line: str | None) -> str | None:
    return line[:_LONGEST_EVIDENCE] if line else None


_BY_OUTCOME = {
    OutcomeKind.OOM_GPU: FailureClass.OUT_OF_MEMORY,
    OutcomeKind.OOM_HOST: FailureClass.OUT_OF_HOST_MEMORY,
    OutcomeKind.DIVERGED: FailureClass.NAN,
    OutcomeKind.TIMEOUT: FailureClass.TIME,
    OutcomeKind.SPAWN_FAILED: FailureClass.START,
    OutcomeKind.LOST: FailureClass.LOST,
    OutcomeKind.GPU_LOST: FailureClass.GPU_LOST,
}
