"""How a training ends other than well: the exceptions, and how running out of memory is recognised."""

from __future__ import annotations

import re

OUT_OF_MEMORY = re.compile(
    r"OOM when allocating|ran out of memory trying to allocate|RESOURCE_EXHAUSTED|failed to allocate memory"
    r"|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|Dst tensor is not initialized"
    r"|CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)|CUDNN_STATUS_ALLOC_FAILED"
)
"""What TensorFlow says when memory is short, also under another exception than ResourceExhaustedError."""

_ON_GPU = re.compile(r"GPU|CUDA|CUBLAS|CUDNN|Dst tensor")


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
    """What a training is at, for the sentence about how it failed: `prepare`, `train` or `evaluate`."""

    def __init__(self) -> None:
        """Start with the preparation."""
        self.name = "prepare"


def memory_outcome(error: BaseException) -> str | None:
    """Return `oom_gpu` or `oom_host` where `error`, or what it was raised from, is a lack of memory; else None."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError):
            return "oom_host"
        text = str(seen)
        if type(seen).__name__ == "ResourceExhaustedError" or OUT_OF_MEMORY.search(text):
            return "oom_gpu" if _ON_GPU.search(text) else "oom_host"
        seen = seen.__cause__
    return None
