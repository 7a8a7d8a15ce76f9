"""What a training process finds in its environment, so that it keeps to its allocation.

Only ever values to set: a variable that must not be there is set to the empty string, which TensorFlow and JAX take
for absent.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING

from parallel_ml.core.units import MIB
from parallel_ml.gpu.simulated import UUID_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from parallel_ml.core.model import Allocation, GpuShare

_CONTEXT_BYTES = 512 * MIB
"""What a torch or JAX process takes on a card outside its pool: about 300 to 500 MB."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_TORCH_WITH_FRACTION = (2, 10)
_TORCH_FRACTION = re.compile(r"(?:^|,)\s*per_process_memory_fraction\s*:[^,]*")


def child_environment(allocation: Allocation, base: Mapping[str, str]) -> dict[str, str]:
    """Return what to set for a process that holds `allocation`, over the environment `base` that it inherits."""
    found = _cards(allocation, base)
    found.update({name: value for name, value, _ in _overruled(allocation, base)})
    if allocation.cpus is not None:
        found.update(dict.fromkeys(THREAD_VARIABLES, str(allocation.cpus)))
    return found


def child_notes(allocation: Allocation, base: Mapping[str, str]) -> tuple[str, ...]:
    """Return a line for each setting of `base` that `child_environment` overrules."""
    return tuple(f"{name}={base[name]} is ignored: {why}" for name, _, why in _overruled(allocation, base))


@lru_cache(maxsize=1)
def torch_takes_fraction() -> bool:
    """Return whether the torch that is installed beside us knows `per_process_memory_fraction`: from 2.10 on.

    An older one ends with an error on a key that it does not know. Where none is installed here, a job that uses
    torch brings its own, and a new one is supposed.
    """
    try:
        found = re.match(r"(\d+)\.(\d+)", metadata.version("torch"))
    except metadata.PackageNotFoundError:
        return True
    return found is None or (int(found[1]), int(found[2])) >= _TORCH_WITH_FRACTION


def _cards(allocation: Allocation, base: Mapping[str, str]) -> dict[str, str]:
    # CUDA's own order is fastest first, so an index would name another card than ours.
    found = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    if not _on_real_cards(allocation):
        # -1 hides every card: a job on the CPU or on a simulated card must not touch a real one.
        return found | {"CUDA_VISIBLE_DEVICES": "-1"}
    found["CUDA_VISIBLE_DEVICES"] = ",".join(share.gpu_uuid for share in allocation.shares)
    found["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    fraction = f"{min(_pool_fraction(share) for share in allocation.shares):.4f}"
    found["XLA_CLIENT_MEM_FRACTION"] = fraction
    if torch_takes_fraction():
        # torch reads the old name only where the new one is absent, so the user's settings move over.
        torch = base.get("PYTORCH_ALLOC_CONF") or base.get("PYTORCH_CUDA_ALLOC_CONF") or ""
        others = _TORCH_FRACTION.sub("", torch).strip(", ")
        found["PYTORCH_ALLOC_CONF"] = ",".join(filter(None, [others, f"per_process_memory_fraction:{fraction}"]))
    return found


def _overruled(allocation: Allocation, base: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield (name, what to set instead, why) of each variable of `base` that would undo the grant."""
    if not _on_real_cards(allocation):
        return
    if base.get("XLA_PYTHON_CLIENT_MEM_FRACTION"):
        yield (
            "XLA_PYTHON_CLIENT_MEM_FRACTION",
            "",
            "the memory granted is said by XLA_CLIENT_MEM_FRACTION, and JAX refuses both",
        )
    if base.get("XLA_PYTHON_CLIENT_ALLOCATOR", "").lower() == "platform":
        # JAX refuses an empty name of an allocator.
        yield "XLA_PYTHON_CLIENT_ALLOCATOR", "default", "this allocator of JAX keeps to no limit"
    if base.get("TF_GPU_ALLOCATOR") == "cuda_malloc_async":
        yield "TF_GPU_ALLOCATOR", "", "with this allocator the memory granted would be no limit for TensorFlow"


def _on_real_cards(allocation: Allocation) -> bool:
    return any(not share.gpu_uuid.startswith(UUID_PREFIX) for share in allocation.shares)


def _pool_fraction(share: GpuShare) -> float:
    """Return the part of the whole card that a framework's pool may take: the grant without the context."""
    pool_bytes = max(share.memory_bytes - _CONTEXT_BYTES, share.memory_bytes // 2)
    return share.memory_fraction * pool_bytes / share.memory_bytes
