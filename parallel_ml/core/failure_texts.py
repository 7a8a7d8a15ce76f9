"""The texts by which failures are known, and one thing to try for each. Tables only; `diagnosis` reads them.

They are those of TensorFlow 2.21, PyTorch 2.13, JAX 0.10, numpy and glibc; `tests/unit/core/test_diagnosis.py` has
each of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from parallel_ml.core.outcome import FailureClass

ADVICE = {
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
    FailureClass.DISK: "free some space (parallel-ml clean removes finished runs), then retry",
    FailureClass.TIME: "raise timeout, or train fewer epochs",
    FailureClass.START: "check command, cwd and the interpreter in the configuration",
    FailureClass.LOST: "retry: nothing says why it vanished",
    FailureClass.GPU_LOST: "look at parallel-ml gpus and the system's log; the card may need a reset",
    FailureClass.PROGRAM: "look at the end of its log: parallel-ml logs",
}
_SHARED_MEMORY = "give it more shared memory (docker run --shm-size, or a larger /dev/shm), or use fewer data workers"


@dataclass(frozen=True)
class Sign:
    """A text that tells a class of failure.

    Attributes:
        kind: The class.
        text: What is searched for in a line that has lost its prefix. Names of exceptions stand at the beginning:
            a line that only mentions one says nothing.
        advice: What to try, where that is not the advice of the class.
        suspected: Whether it is only likely.
        decides: Whether it counts wherever it stands. Others are harmless as often as not ("no such file, skipping"):
            they count in an exception, or where no other words follow.
    """

    kind: FailureClass
    text: re.Pattern[str]
    advice: str = ""
    suspected: bool = False
    decides: bool = True


SIGNS = (
    Sign(
        # Before the disk, whose words it has: the files of /dev/shm are memory.
        FailureClass.OUT_OF_HOST_MEMORY,
        re.compile(
            r"unable to (write to file|allocate shared memory\(shm\) for file|open shared memory object) </torch"
            r"|killed by signal: Bus error|workers are out of shared memory|insufficient shared memory \(shm\)"
        ),
        _SHARED_MEMORY,
        suspected=True,
    ),
    Sign(
        FailureClass.DISK,
        re.compile(r"No space left on device|Disk quota exceeded|Read-only file system|\[Errno (28|30|122)\]"),
    ),
    Sign(
        # oneDNN's status 2 is an invalid argument and 3 is not implemented; 1 is out of memory.
        FailureClass.OUT_OF_HOST_MEMORY,
        re.compile(r"(?<!Status: [23], message: )could not (create|execute) a (primitive|memory)(?! desc)"),
        suspected=True,
    ),
    Sign(
        # OpenBLAS goes on with fewer threads.
        FailureClass.OUT_OF_HOST_MEMORY,
        re.compile(r"(?<!blas_thread_init: )pthread_create(\(\))? failed|Check failed: \w+ == 0 \(1[12] vs\. 0\)"),
        "lower batch_size, run fewer jobs at once, or raise the limit of threads (ulimit -u)",
        suspected=True,
    ),
    Sign(
        # Before the memory of cards: the same words, with the host's allocator in them.
        FailureClass.OUT_OF_HOST_MEMORY,
        re.compile(
            r"DefaultCPUAllocator: (can't|not enough)|OOM when allocating tensor.*\b(device:CPU|allocator (cpu|mklcpu))"
            r"|^(\w+\.)*_?(Array)?MemoryError(:|$)|^numpy\S*MemoryError|Unable to allocate .* for an array"
            r"|std::bad_alloc|Cannot allocate memory|\[Errno 12\]|ran out of memory trying to allocate .*\bCPU\b"
            r"|RESOURCE_EXHAUSTED: Out of memory allocating \d+ bytes.*\b(cpu|CPU)\b"
        ),
    ),
    Sign(
        FailureClass.OUT_OF_MEMORY,
        re.compile(
            r"(CUDA|HIP|XPU|MPS backend) out of memory|would exceed per_process_memory_fraction limit"
            r"|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|^torch\.(cuda\.)?OutOfMemoryError"
            r"|Triton Error \[\w+\]: out of memory|OOM when allocating tensor|ran out of memory trying to allocate"
            r"|^(\w+\.)*ResourceExhaustedError(:|$)|RESOURCE_EXHAUSTED: .*([Oo]ut of memory|OOM)"
            r"|Dst tensor is not initialized|Failed to allocate memory for|cudaErrorMemoryAllocation"
            r"|CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)|CUDNN_STATUS_ALLOC_FAILED"
        ),
    ),
    Sign(FailureClass.GPU_LOST, re.compile(r"[Uu]ncorrectable ECC error|cudaErrorECCUncorrectable|fallen off the bus")),
    Sign(
        FailureClass.PROGRAM,
        re.compile(
            r"device-side assert triggered|(illegal memory access|misaligned address) was encountered"
            r"|CUDA_ERROR_ILLEGAL_ADDRESS|unspecified launch failure"
        ),
        "set CUDA_LAUNCH_BLOCKING=1 in env: then the traceback names the call; often an index or a label out of range",
    ),
    Sign(
        FailureClass.PROGRAM,
        re.compile(r"Too many open files|\[Errno 24\]|received 0 items of ancdata"),
        "raise the limit of open files (ulimit -n) where parallel_ml is started, or use fewer data workers",
        decides=False,
    ),
    Sign(
        FailureClass.PROGRAM,
        re.compile(r"can't start new thread"),
        "raise the limit of threads (ulimit -u, or the container's pids limit), or use fewer data workers",
        decides=False,
    ),
    Sign(
        FailureClass.CUDA_MISMATCH,
        re.compile(r"doesn't have NCCL built in"),
        "install a build of the framework that has NCCL, or use the gloo backend",
    ),
    Sign(
        FailureClass.CUDA_MISMATCH,
        re.compile(r"all CUDA-capable devices are busy or unavailable|cudaErrorDevicesUnavailable"),
        "another program holds the card, or its compute mode is exclusive or prohibited: nvidia-smi -q -d COMPUTE",
    ),
    Sign(
        FailureClass.CUDA_MISMATCH,
        re.compile(
            r"CUDA driver version is insufficient|NVIDIA driver on your system is too old|Found no NVIDIA driver"
            r"|no kernel image is available|forward compatibility was attempted|Torch not compiled with CUDA enabled"
            r"|lib(cu\w+|nv\w+|nccl)\.so[.\d]*: (cannot open shared object|undefined symbol|version)"
            r"|Loaded runtime CuDNN library: .* but source was compiled|CUDA_ERROR_(NO_DEVICE|INVALID_IMAGE|NO_BINARY)"
            r"|cuDNN version incompatibility|PTX was compiled with an unsupported toolchain|CUDA unknown error"
        ),
        decides=False,
    ),
    Sign(
        FailureClass.IMPORT,
        re.compile(
            r"^(ModuleNotFoundError|ImportError)(:|$)|No module named|cannot open shared object file|undefined symbol"
        ),
        decides=False,
    ),
    Sign(FailureClass.NAN, re.compile(r"[Ll]oss (is|was|became) (nan|NaN|inf)|loss: nan\b.*stopping")),
    Sign(
        FailureClass.NAN,
        re.compile(
            r"Input (X |y )?contains NaN|(NaN|nan|Nan) or [Ii]nf|^FloatingPointError|contains? (nan|NaN)s?\b|nan loss"
            r"|returned nan values"
        ),
        decides=False,
    ),
    Sign(
        FailureClass.NCCL,
        re.compile(r"[Gg]loo\b.*([Tt]imed? ?out|[Ff]ailed)|client socket has (timed out|failed)|waiting for clients"),
        "a rank did not arrive: look at the rank that ended first, and at MASTER_ADDR and MASTER_PORT",
    ),
    Sign(
        FailureClass.NCCL,
        re.compile(
            r"\bNCCL\b.*(WARN|[Ee]rror|[Ff]ail(ed|ure)|[Tt]imed? ?out|abort)|\bnccl\w*Error\b"
            r"|[Ww]atchdog caught collective operation timeout|ProcessGroup(NCCL|Gloo)|Dist(Backend|Network)Error"
        ),
    ),
    Sign(
        FailureClass.KILLED,
        re.compile(
            r"died with <Signals\.SIGKILL|killed by signal: Killed|Signal 9 \(SIGKILL\) received|exitcode *: -9\b"
        ),
        "something outside killed a process of it: most often the system, short of memory (dmesg says so)",
    ),
    Sign(
        FailureClass.SEGFAULT,
        re.compile(r"\bCheck failed: |^LLVM ERROR: |died with <Signals\.SIG(SEGV|ABRT|BUS|ILL|FPE)"),
    ),
    Sign(
        FailureClass.DATA,
        re.compile(
            r"^(\w+\.)*(FileNotFoundError|NotADirectoryError|IsADirectoryError|PermissionError|UnidentifiedImageError"
            r"|EmptyDataError|ParserError|JSONDecodeError|UnicodeDecodeError|BadZipFile|DataLossError|NotFoundError"
            r"|DatasetNotFoundError|UnpicklingError|EOFError)\b"
            r"|cannot identify image file|image file is truncated|No such file or directory|corrupted (record|file)"
        ),
        decides=False,
    ),
    Sign(
        FailureClass.CONFIGURATION,
        re.compile(
            r": error: (unrecognized arguments|argument |the following arguments are required|ambiguous option)"
        ),
    ),
    Sign(
        FailureClass.CONFIGURATION,
        re.compile(
            r"^(Usage|usage): |^(yaml\.\S+|omegaconf\.\S+|hydra\.\S+|argparse\.\S+|configparser\.\S+)"
            r"|No such option|(Could not|Unable to) (load|override|find) .*config|^pydantic\S*ValidationError"
        ),
        decides=False,
    ),
)
PREFIX = re.compile(
    r"^\s*(\[\w*\d+\]: ?|\((\w+ )?pid=\d+[^)]*\) ?|(ERROR|CRITICAL|FATAL):([\w.]+:)?(?= ?[\w.]+(:|$)) ?|\| ?)*"
)
"""What launchers and loggers put before a line: the rank, the process, the level of an error."""
EXCEPTION = re.compile(
    r"^((\w+\.)*[A-Z]\w*(Error|Exception|Exit|Interrupt|Warning|Fault)|(\w+\.)+[A-Z]\w*(Failed|Resources|Timeout|File))"
    r"(?=:|$)(?!.*Warning:)"
)
"""A line that is the last of a Python traceback."""
ECHO = re.compile(
    r"ChildFailedError|DataLoader worker|ProcessExitedException|ProcessRaisedException|BrokenPipe|BrokenProcessPool"
    r"|ConnectionReset|ConnectionRefused|RayTaskError|CalledProcessError|^EOFError$|exited unexpectedly"
)
"""Exceptions that only pass on that another process has failed."""
HARMLESS = re.compile(r"^\[[WI]\d*\W|\bNCCL INFO\b|^NCCL version ")
"""Warnings and remarks of PyTorch's native code and of NCCL."""
IGNORED = re.compile(r"^Exception ignored (in|while|on)\b")
"""The head of a traceback that Python itself threw away, most often while it was shutting down."""
