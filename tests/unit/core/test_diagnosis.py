"""What a failure looks like, from the texts that frameworks and systems really print."""

from __future__ import annotations

import pytest

from parallel_ml.core.diagnosis import diagnose, read_output
from parallel_ml.core.outcome import FailureClass, Outcome, OutcomeKind
from parallel_ml.core.recovery import ExitFacts, judge

TEXTS = [
    # TensorFlow
    (
        (
            "tensorflow.python.framework.errors_impl.ResourceExhaustedError: {{function_node __wrapped__MatMul}} "
            "OOM when allocating tensor with shape[65536,2048] and type float on "
            "/job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc [Op:MatMul]"
        ),
        "out_of_memory",
    ),
    (
        (
            "ResourceExhaustedError: OOM when allocating tensor with shape[65536,2048] and type float on "
            "/job:localhost/replica:0/task:0/device:CPU:0 by allocator cpu"
        ),
        "out_of_host_memory",
    ),
    ("W bfc_allocator.cc:501] Allocator (GPU_0_bfc) ran out of memory trying to allocate 1.2GiB", "out_of_memory"),
    ("tensorflow.python.framework.errors_impl.InternalError: Dst tensor is not initialized.", "out_of_memory"),
    ("failed to create cublas handle: CUBLAS_STATUS_ALLOC_FAILED", "out_of_memory"),
    ("InternalError: Blas GEMM launch failed: CUBLAS_STATUS_NOT_INITIALIZED", "out_of_memory"),
    ("Could not create cudnn handle: CUDNN_STATUS_ALLOC_FAILED", "out_of_memory"),
    # PyTorch
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total ...", "out_of_memory"),
    ("RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB", "out_of_memory"),
    ("torch.OutOfMemoryError: Allocation would exceed per_process_memory_fraction limit", "out_of_memory"),
    ("torch.AcceleratorError: CUDA error: out of memory", "out_of_memory"),
    (
        (
            "RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 4000000000000 bytes."
        ),
        "out_of_host_memory",
    ),
    # JAX and numpy
    ("jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.", "out_of_memory"),
    (
        (
            "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.28 TiB for an array with shape (1000000, "
            "1000000) and data type float64"
        ),
        "out_of_host_memory",
    ),
    ("MemoryError", "out_of_host_memory"),
    ("terminate called after throwing an instance of 'std::bad_alloc'", "out_of_host_memory"),
    ("OSError: [Errno 12] Cannot allocate memory", "out_of_host_memory"),
    ("RuntimeError: Triton Error [CUDA]: out of memory", "out_of_memory"),
    # the rest of the world
    ("OSError: [Errno 28] No space left on device: 'out/model.pt'", "disk"),
    ("ModuleNotFoundError: No module named 'torchvision'", "import"),
    ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "import"),
    ("OSError: libcudart.so.11.0: cannot open shared object file: No such file or directory", "cuda_mismatch"),
    ("RuntimeError: The NVIDIA driver on your system is too old (found version 11040).", "cuda_mismatch"),
    ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "cuda_mismatch"),
    ("AssertionError: Torch not compiled with CUDA enabled", "cuda_mismatch"),
    ("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1275, unhandled system error", "nccl"),
    ("[rank0]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum=12)", "nccl"),
    ("ValueError: Input X contains NaN.", "nan"),
    ("Loss is nan, stopping training", "nan"),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'data/train.csv'", "data"),
    ("PIL.UnidentifiedImageError: cannot identify image file 'a.png'", "data"),
    ("train.py: error: unrecognized arguments: --learning-rate 3", "configuration"),
    ("train.py: error: the following arguments are required: --data", "configuration"),
    ("ValueError: shapes (3,4) and (5,6) not aligned", "program"),
    ("KeyError: 'loss'", "program"),
]


@pytest.mark.parametrize(("line", "kind"), TEXTS)
def test_the_texts_of_frameworks_are_known(line: str, kind: str) -> None:
    """One row a text."""
    found = diagnose(Outcome(OutcomeKind.ERROR, 1), None, ["Traceback (most recent call last):", '  File "x.py"', line])
    assert found is not None
    assert (found.kind.value, found.evidence) == (kind, line[:300])
    assert found.advice


NOT_MEMORY = [
    "RuntimeError: CUDA error: invalid argument",
    "ValueError: the memory bank must not be empty",
    "RuntimeError: CUDA error: device-side assert triggered",
    "OSError: [Errno 28] No space left on device",
    "hint: lower the batch size if you see memory problems",
    "KeyError: 'memory'",
]


@pytest.mark.parametrize("line", NOT_MEMORY)
def test_what_is_not_out_of_memory_is_not_taken_for_it(line: str) -> None:
    """A ladder step for any of these would be wrong."""
    outcome, _, _ = judge(ExitFacts(code=1, error=line, tail=(line,)))
    assert str(outcome) == "error(1)"


def test_a_lack_of_memory_that_was_overcome_is_not_the_reason_of_what_failed_later() -> None:
    """Accelerate's find_executable_batch_size prints one and goes on; the last exception decides."""
    tail = ["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "epoch 1 done", "KeyError: 'loss'"]
    found = read_output(None, tail)
    assert found is not None
    assert found.kind is FailureClass.PROGRAM


def test_ranks_that_only_hear_of_the_first_ones_end_do_not_hide_it() -> None:
    """One process out of memory makes the others complain of the network, later."""
    tail = [
        "[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "[rank0]: torch.distributed.DistBackendError: NCCL error: remote process exited",
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
    ]
    outcome, error, found = judge(ExitFacts(code=1, error=tail[-1], tail=tuple(tail)))
    assert outcome.kind is OutcomeKind.OOM_GPU
    assert found is not None
    assert "CUDA out of memory" in (found.evidence or "")
    assert (error or "").startswith("out of GPU memory: ")


@pytest.mark.parametrize(
    ("facts", "kind", "suspected"),
    [
        (ExitFacts(signal=11), "segfault", False),
        (ExitFacts(signal=11, near_limit=True), "out_of_memory", True),
        (ExitFacts(code=139), "segfault", False),
        (ExitFacts(signal=7), "segfault", False),
        (ExitFacts(signal=9), "killed", False),
        (ExitFacts(code=137), "killed", False),
        (ExitFacts(signal=9, oom_kill=True), "out_of_host_memory", False),
        (ExitFacts(signal=15, oom_kill=True), "killed", False),
        (ExitFacts(code=1), "program", False),
        (ExitFacts(code=1, said="diverged", error="the weights became nan"), "nan", False),
        (ExitFacts(lost=True), "lost", False),
        (ExitFacts(spawn_error="cannot start x"), "start", False),
    ],
)
def test_ends_without_words_are_told_by_the_exit(facts: ExitFacts, kind: str, suspected: bool) -> None:  # noqa: FBT001
    """Signals, shells that pass them on, and crashes near a limit."""
    _, _, found = judge(facts)
    assert found is not None
    assert (found.kind.value, found.suspected) == (kind, suspected)


@pytest.mark.parametrize("facts", [ExitFacts(code=0), ExitFacts(code=1, asked="stop"), ExitFacts(never_started=True)])
def test_what_did_not_fail_has_no_diagnosis(facts: ExitFacts) -> None:
    """Success, a stop that was asked for, and what never ran."""
    assert judge(facts)[2] is None


TENSORFLOW_ABORTS = [
    "AbortedError: Operation received an exception:Status: 1, message: could not create a primitive, in file mkl.cc:1",
    "F xla/env.cc:74] Check failed: ret == 0 (11 vs. 0)Thread tf_Compute creation via pthread_create() failed.",
    "LLVM ERROR: pthread_create failed: Resource temporarily unavailable",
]


@pytest.mark.parametrize("line", TENSORFLOW_ABORTS)
def test_tensorflow_without_host_memory_is_suspected_from_the_line_that_says_so(line: str) -> None:
    """Not the stack frame below it."""
    frame = "    @     0x7f1200000000          10  cfunction_call"
    outcome, error, found = judge(ExitFacts(signal=6, error=frame, tail=(line, "*** SIGABRT received ***", frame)))
    assert found is not None
    assert (found.kind.value, found.suspected, found.evidence) == ("out_of_host_memory", True, line)
    assert (outcome.kind, error) == (OutcomeKind.OOM_HOST, f"probably out of memory: {line}")


def test_what_onednn_does_not_implement_is_no_lack_of_memory() -> None:
    """Its status 3 is another one."""
    found = read_output("AbortedError: received an exception:Status: 3, message: could not create a primitive, in x:1")
    assert found is not None
    assert found.kind is FailureClass.PROGRAM


def test_any_other_failed_check_is_the_evidence_of_its_crash() -> None:
    """It says more than the signal."""
    line = "F tensor_shape.cc:1] Check failed: size >= 0 (-1 vs. 0)"
    _, _, found = judge(ExitFacts(signal=6, tail=(line, "    @ 0x7f12 cfunction_call")))
    assert found is not None
    assert (found.kind.value, found.evidence) == ("segfault", line)


@pytest.mark.parametrize(
    ("earlier", "kind", "suspected"),
    [
        ((OutcomeKind.OOM_HOST,), "out_of_host_memory", True),
        ((OutcomeKind.OOM_GPU,), "out_of_memory", True),
        ((OutcomeKind.OOM_GPU, OutcomeKind.OOM_HOST, OutcomeKind.LOST), "out_of_host_memory", True),
        ((OutcomeKind.ERROR,), "segfault", False),
    ],
)
def test_a_crash_after_a_lack_of_memory_is_likely_another(
    earlier: tuple[OutcomeKind, ...],
    kind: str,
    suspected: bool,  # noqa: FBT001
) -> None:
    """Of the kind that the attempts before it ended of."""
    _, _, found = judge(ExitFacts(signal=11), [Outcome(one) for one in earlier])
    assert found is not None
    assert (found.kind.value, found.suspected) == (kind, suspected)


EXIT_WARNING = (
    "[rank0]:[W1122 04:03:18.123 ProcessGroupNCCL.cpp:1496] Warning: WARNING: destroy_process_group() was not called"
)
WATCHDOG = "[rank0]:[E1122 ProcessGroupNCCL.cpp:616] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(1)"
SHUTTING_DOWN = (
    "Exception ignored in: <function Pool.__del__ at 0x7f12>",
    "Traceback (most recent call last):",
    '  File "pool.py", line 4, in __del__',
    "ImportError: sys.meta_path is None, Python is likely shutting down",
)
LATER_WORDS = [
    (("[rank0]: ValueError: bad shape", EXIT_WARNING), "program", "[rank0]: ValueError: bad shape"),
    (("ValueError: bad shape", WATCHDOG), "program", "ValueError: bad shape"),
    (("KeyError: 'loss'", *SHUTTING_DOWN), "program", "KeyError: 'loss'"),
    (("KeyError: 'loss'", SHUTTING_DOWN[0], SHUTTING_DOWN[-1]), "program", "KeyError: 'loss'"),
    ((*SHUTTING_DOWN, "KeyError: 'loss'"), "program", "KeyError: 'loss'"),
    (("KeyError: 'loss'", "INFO: cleanup done, ImportError count 0"), "program", "KeyError: 'loss'"),
    (("INFO: cleanup done, ImportError count 0",), "program", "INFO: cleanup done, ImportError count 0"),
    (("ImportErrors: none, MemoryError count 0", "bye"), "program", "bye"),
    (("cache.bin: No such file or directory, skipping", "accuracy too low"), "program", "accuracy too low"),
    (("KeyError: 'loss'", "rm: x: No such file or directory"), "program", "KeyError: 'loss'"),
    (("FileNotFoundError: [Errno 2] No such file", "wandb: bye"), "data", "FileNotFoundError: [Errno 2] No such file"),
    (("RuntimeError: Failed to import x:", "No module named 'flash'"), "import", "No module named 'flash'"),
    (("host:1:2 [0] NCCL INFO Init COMPLETE", "accuracy too low"), "program", "accuracy too low"),
    ((WATCHDOG, "accuracy too low"), "nccl", WATCHDOG),
    (("(train pid=7) train.MemoryError: x", "bye"), "out_of_host_memory", "(train pid=7) train.MemoryError: x"),
    (("[rank1]: ModuleNotFoundError: No module named 'x'", "bye"), "import", None),
    (("ERROR:root:ModuleNotFoundError: No module named 'x'", "bye"), "import", None),
]


@pytest.mark.parametrize(("tail", "kind", "evidence"), LATER_WORDS)
def test_harmless_words_do_not_overrule_an_exception(tail: tuple[str, ...], kind: str, evidence: str | None) -> None:
    """Warnings at exit, tracebacks that Python ignores, and lines that only mention something."""
    _, _, found = judge(ExitFacts(code=1, error=tail[-1], tail=tail))
    assert found is not None
    assert (found.kind.value, found.evidence) == (kind, evidence or tail[0])


ADVICE = [
    ("RuntimeError: Distributed package doesn't have NCCL built in", "cuda_mismatch", "gloo"),
    ("RuntimeError: Gloo connectFullMesh failed with [pair.h:301] Connect timeout", "nccl", "MASTER_ADDR"),
    ("torch.distributed.DistNetworkError: The client socket has timed out after 60000ms", "nccl", "MASTER_ADDR"),
    (
        "RuntimeError: DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ...",
        "out_of_host_memory",
        "shm",
    ),
    ("RuntimeError: unable to write to file </torch_7_1>: No space left on device (28)", "out_of_host_memory", "shm"),
    ("RuntimeError: CUDA error: uncorrectable ECC error encountered", "gpu_lost", "reset"),
    ("RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable", "cuda_mismatch", "compute mode"),
    ("RuntimeError: CUDA error: device-side assert triggered", "program", "CUDA_LAUNCH_BLOCKING=1"),
    ("RuntimeError: CUDA error: an illegal memory access was encountered", "program", "CUDA_LAUNCH_BLOCKING=1"),
    ("OSError: [Errno 24] Too many open files: 'a.png'", "program", "ulimit -n"),
    ("RuntimeError: can't start new thread", "program", "ulimit -u"),
    (
        "subprocess.CalledProcessError: Command '['python', 'train.py']' died with <Signals.SIGKILL: 9>.",
        "killed",
        "dmesg",
    ),
    ("subprocess.CalledProcessError: Command 'x' died with <Signals.SIGSEGV: 11>.", "segfault", "PYTHONFAULTHANDLER"),
]


@pytest.mark.parametrize(("line", "kind", "advice"), ADVICE)
def test_the_advice_fits_the_text(line: str, kind: str, advice: str) -> None:
    """Something to do, also where the class alone says little."""
    _, _, found = judge(ExitFacts(code=1, error=line, tail=("Traceback (most recent call last):", line)))
    assert found is not None
    assert (found.kind.value, found.evidence) == (kind, line)
    assert advice in found.advice


def test_a_device_assert_that_ends_in_an_abort_keeps_its_advice() -> None:
    """The text says more than the signal."""
    tail = (
        "terminate called after throwing an instance of 'c10::Error'",
        "  what():  CUDA error: device-side assert triggered",
    )
    _, _, found = judge(ExitFacts(signal=6, error=tail[-1], tail=tail))
    assert found is not None
    assert "CUDA_LAUNCH_BLOCKING" in found.advice
