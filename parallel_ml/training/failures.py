"""How a training ends other than well: the exceptions, and how running out of memory is recognised."""

from __future__ import annotations

import errno
import re
import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_A_GPU = re.compile(
    r"CUDA out of memory|CUDA error: out of memory|Triton Error \[CUDA\]: out of memory|CUDA_ERROR_OUT_OF_MEMORY"
    r"|HIP out of memory|MPS backend out of memory|would exceed per_process_memory_fraction limit"
    r"|Dst tensor is not initialized|CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)|CUDNN_STATUS_ALLOC_FAILED"
)
_OF_THE_HOST = re.compile(
    r"DefaultCPUAllocator: (can't allocate memory|not enough memory)|std::bad_alloc"
    r"|Unable to allocate [\d.]+ ?([KMGTPE]i?)?B(ytes)? for an array"
    r"|Operation received an exception:Status: 1, message: could not "  # the status of oneDNN for a lack of memory
)
_NO_THREAD = re.compile(r"pthread_create\b.*\bfailed|^can't start new thread$|^Resource temporarily unavailable$")
"""A thread needs memory for its stack; where that is not limited, it is the number of threads that is."""

_OF_EITHER = re.compile(
    r"OOM when allocating tensor|ran out of memory trying to allocate|RESOURCE_EXHAUSTED: Out of memory"
    r"|Out of memory (while trying to allocate|allocating) \d+|failed to allocate memory"
)
"""What TensorFlow, PyTorch and JAX say when memory is short, also under another exception than the one meant for it."""

_NAMES_GPU = re.compile(r"device:(XLA_)?GPU|\bGPU_\d+_bfc|\bgpu_async|StreamExecutorGPU|\bCUDA\b")
_NAMES_HOST = re.compile(r"device:(XLA_)?CPU|allocator (mkl)?cpu\b|\bcuda_host_bfc|gpu_host_bfc")
_OTHER_EXHAUSTION = re.compile(
    r"No space left on device|Disk quota exceeded|Too many open files|Too many links|larger than max"
)
"""TensorFlow has one class for a lack of anything."""


class TrainingError(Exception):
    """A problem that could be foreseen; its text is one line for the user."""


class MissingFramework(TrainingError):
    """A package that the built-in training needs is not installed."""

    def __init__(self, package: str) -> None:
        """Name the package and the command that brings it."""
        super().__init__(f"the built-in training needs {package}; run: pip install 'parallel-ml[tensorflow]'")


class Diverged(TrainingError):
    """The weights are no longer numbers, so that no further epoch can help."""

    def __init__(self, epoch: int) -> None:
        """Name the epoch (from 1)."""
        super().__init__(f"the weights became nan in epoch {epoch}; a lower learning_rate may help")


class Released(Exception):
    """Somebody asked the training to stop; everything that it needs to go on later is saved."""


class Place:
    """What a training is at, for the sentence about how it failed.

    `prepare`, `train`, `validate` (between two epochs), or `evaluate` (at the end).
    """

    def __init__(self) -> None:
        """Start with the preparation."""
        self.name = "prepare"


def memory_outcome(error: BaseException, *, on_gpu: bool = False) -> str | None:
    """Return `oom_gpu` or `oom_host` where `error`, or what it came from, is a lack of memory; else None.

    Args:
        error: What was raised.
        on_gpu: Whether the training computes on a GPU, for what does not say whose memory it was.
    """
    for seen in _chain(error):
        found = _by_class(seen) or _by_text(str(seen))
        if found == "oom":
            found = _whose(str(seen), on_gpu=on_gpu)
        if found is not None:
            return found
    return None


def memory_evidence(error: BaseException) -> str:
    """Return the line that says that memory was short, out of all that a framework tells with it."""
    lines = [line.strip() for seen in _chain(error) for line in str(seen).splitlines() if line.strip()]
    return next((line for line in lines if _by_text(line)), lines[0] if lines else type(error).__name__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and all that it came from, as a traceback would show them; a chain may be a ring."""
    waiting, seen = [error], set()
    while waiting:
        now = waiting.pop(0)
        if id(now) in seen:
            continue
        seen.add(id(now))
        yield now
        waiting += getattr(now, "exceptions", ())
        if now.__cause__ is not None:
            waiting.append(now.__cause__)
        elif now.__context__ is not None and not now.__suppress_context__:
            waiting.append(now.__context__)


def _by_class(error: BaseException) -> str | None:
    """Return `oom` where the class says that memory is short, and not whose."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "oom_host"
    names = {kind.__name__ for kind in type(error).__mro__}
    if "OutOfMemoryError" in names:
        return "oom_gpu"
    if "ResourceExhaustedError" in names and not _OTHER_EXHAUSTION.search(str(error)):
        return "oom"
    return None


def _by_text(text: str) -> str | None:
    if _OF_A_GPU.search(text):
        return "oom_gpu"
    if _OF_THE_HOST.search(text) or (_NO_THREAD.search(text) and _memory_is_limited()):
        return "oom_host"
    return "oom" if _OF_EITHER.search(text) else None


def _memory_is_limited() -> bool:
    """Return whether this process may use only so much of the address space, by `ulimit -v` or -d."""
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    return any(resource.getrlimit(kind)[0] != resource.RLIM_INFINITY for kind in kinds)


def _whose(text: str, *, on_gpu: bool) -> str:
    if _NAMES_HOST.search(text):
        return "oom_host"
    return "oom_gpu" if on_gpu or _NAMES_GPU.search(text) else "oom_host"
