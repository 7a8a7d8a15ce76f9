"""Recognising a lack of memory."""

from __future__ import annotations

import errno
import resource

import pytest

from parallel_ml.training.failures import TrainingError, memory_evidence, memory_outcome

ONEDNN = (
    "Operation received an exception:Status: 1, message: could not create a primitive, "
    "in file tensorflow/core/kernels/mkl/mkl_conv_grad_filter_ops.cc:685"
)


def of_class(name: str, text: str, base: type[Exception] = RuntimeError) -> Exception:
    """Return an exception as a framework raises it, known by the name of its class."""
    return type(name, (base,), {})(text)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (MemoryError("Unable to allocate 8 GiB"), "oom_host"),
        (of_class("_ArrayMemoryError", "", MemoryError), "oom_host"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "oom_host"),
        (of_class("ResourceExhaustedError", "failed to allocate memory [Op:AddV2]"), "oom_host"),
        (of_class("ResourceExhaustedError", "OOM on /job:localhost/device:GPU:0"), "oom_gpu"),
        (RuntimeError("OOM when allocating tensor with shape[9] on /device:GPU:0 by allocator GPU_0_bfc"), "oom_gpu"),
        (RuntimeError("OOM when allocating tensor with shape[9] on /device:CPU:0 by allocator cpu"), "oom_host"),
        (RuntimeError("Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.0GiB"), "oom_gpu"),
        (of_class("InternalError", "Dst tensor is not initialized."), "oom_gpu"),
        (of_class("InternalError", "Failed: CUBLAS_STATUS_ALLOC_FAILED"), "oom_gpu"),
        (of_class("InternalError", "CUBLAS_STATUS_NOT_INITIALIZED"), "oom_gpu"),
        (of_class("InternalError", "CUDNN_STATUS_ALLOC_FAILED"), "oom_gpu"),
        (of_class("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB."), "oom_gpu"),
        (RuntimeError("Allocation of 2 GiB would exceed per_process_memory_fraction limit"), "oom_gpu"),
        (of_class("AcceleratorError", "CUDA error: out of memory\nCUDA kernel errors might be"), "oom_gpu"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), "oom_host"),
        (of_class("JaxRuntimeError", "RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes."), "oom_host"),
        (RuntimeError("Unable to allocate 74.5 GiB for an array with shape (100000, 100000)"), "oom_host"),
        (RuntimeError("Triton Error [CUDA]: out of memory"), "oom_gpu"),
        (RuntimeError("std::bad_alloc"), "oom_host"),
        (of_class("AbortedError", f"Graph execution error:\n{ONEDNN}"), "oom_host"),
        (RuntimeError("step 3 failed: CUDA out of memory. Tried to allocate 2.00 GiB"), "oom_gpu"),
    ],
)
def test_a_lack_of_memory_is_recognised(error: Exception, outcome: str) -> None:
    """By the class or by what a framework says, and whose memory it was."""
    assert memory_outcome(error) == outcome


@pytest.mark.parametrize(
    "error",
    [
        TrainingError("no images"),
        ValueError("shapes do not fit"),
        RuntimeError("CUDA error: invalid argument"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("the memory of this model is a list; out of memory slots, see the documentation"),
        of_class("ResourceExhaustedError", "/data/a.png; No space left on device"),
        of_class("ResourceExhaustedError", "/data/a.png; Too many open files"),
        of_class("JaxRuntimeError", "RESOURCE_EXHAUSTED: received message larger than max (9 vs. 4)"),
        OSError(errno.ENOSPC, "No space left on device"),
        of_class("AbortedError", ONEDNN.replace("Status: 1", "Status: 3")),
        RuntimeError("can't start new thread"),
        RuntimeError("LLVM ERROR: pthread_create failed: Resource temporarily unavailable"),
        RecursionError("maximum recursion depth exceeded"),
    ],
)
def test_what_is_no_lack_of_memory(error: Exception) -> None:
    """Another batch size would not help here."""
    assert memory_outcome(error) is None


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        RuntimeError("LLVM ERROR: pthread_create failed: Resource temporarily unavailable"),
        RuntimeError("Thread tf_data_private_threadpool creation via pthread_create() failed."),
    ],
)
@pytest.mark.parametrize("kind", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_a_thread_that_cannot_start_under_a_limit_on_memory(error: Exception, kind: int) -> None:
    """There is no memory for its stack; without a limit there are too many threads."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (1 << 50, before[1]))
    try:
        assert memory_outcome(error) == "oom_host"
    finally:
        resource.setrlimit(kind, before)


@pytest.mark.parametrize(("on_gpu", "outcome"), [(True, "oom_gpu"), (False, "oom_host")])
def test_where_the_text_does_not_say_whose_memory(on_gpu: bool, outcome: str) -> None:  # noqa: FBT001 - a parameter
    """It is that of the device that computes."""
    error = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes.")
    assert memory_outcome(error, on_gpu=on_gpu) == outcome


def test_a_lack_of_memory_is_seen_through_a_wrapper() -> None:
    """What an error was raised from counts, and what it was raised in the handling of."""
    caused = TrainingError("could not read")
    caused.__cause__ = MemoryError()
    followed = ValueError("the clean-up failed")
    followed.__context__ = RuntimeError("CUDA error: out of memory")
    assert (memory_outcome(caused), memory_outcome(followed)) == ("oom_host", "oom_gpu")


def test_a_hidden_context_is_no_evidence() -> None:
    """`raise ... from None` says that the one has nothing to do with the other."""
    error = ValueError("unrelated")
    error.__context__ = MemoryError()
    error.__suppress_context__ = True
    assert memory_outcome(error) is None


def test_a_ring_of_causes_ends() -> None:
    """Two errors that name each other."""
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert memory_outcome(one) is None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("Graph execution error:\n\nDetected at node x\nOOM when allocating tensor [9]\n\t [[x]]"), "OOM"),
        (MemoryError(), "MemoryError"),
        (of_class("ResourceExhaustedError", "\nexhausted\n"), "exhausted"),
    ],
)
def test_the_line_that_matters_is_found(error: Exception, line: str) -> None:
    """TensorFlow buries it under where in the graph it happened."""
    assert memory_evidence(error).startswith(line)
