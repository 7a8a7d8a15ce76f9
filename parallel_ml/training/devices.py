"""Setting TensorFlow up for one process: quiet, on the granted cores and memory, and with repeatable results."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from parallel_ml.training.console import log
from parallel_ml.training.failures import MissingFramework

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parallel_ml.training.settings import ProcessSettings

PACKAGES = {"tensorflow": "tensorflow", "keras": "keras", "numpy": "numpy", "PIL": "pillow"}
_OUTSIDE_POOL_MB = {6: 500, 7: 1050, 8: 1536}
"""By the major number of the compute capability: what TensorFlow itself leaves free for context and libraries."""
_OUTSIDE_POOL_NEWER_MB = 1800


def load_framework(cpus: int | None) -> None:
    """Import TensorFlow and Keras, with the environment that must be set before.

    Raises:
        MissingFramework: One of the packages is not installed.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # One thread a library: the sums of numpy are small here, and a pool of its own would fight with TensorFlow's.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if cpus is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(cpus))
    # The collector would walk the hundreds of thousands of objects that the import makes, again and again.
    gc.disable()
    try:
        with _quiet_stderr():
            import keras  # noqa: F401, PLC0415 - loaded here for good, with nothing on stderr
            import PIL.Image  # noqa: F401, PLC0415
            import tensorflow  # noqa: F401, ICN001, PLC0415
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in PACKAGES:
            raise MissingFramework(PACKAGES[name]) from error
        raise
    finally:
        gc.enable()
    gc.freeze()
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(keras|tensorflow|PIL)(\..*)?$")


def configure(process: ProcessSettings, *, mixed_precision: bool) -> None:
    """Give TensorFlow its cores, cards, memory and seed; call it before anything is computed."""
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    if process.cpus is not None:
        tf.config.threading.set_intra_op_parallelism_threads(process.cpus)
        tf.config.threading.set_inter_op_parallelism_threads(process.cpus)
    gpus = _limit_gpus(process)
    tf.constant(0)  # the device and its threads come up here, and nowhere later
    keras.utils.set_random_seed(process.seed % 2**32)
    tf.config.experimental.enable_op_determinism()
    if mixed_precision:
        policy = "mixed_bfloat16" if all(_capability(gpu) >= (8, 0) for gpu in gpus) else "mixed_float16"
        keras.config.set_dtype_policy(policy)
        log.info("mixed precision: %s", policy)


def worker_threads(process: ProcessSettings) -> int:
    """Return how many threads read images: the granted cores, or all that this process may use."""
    return process.cpus or len(os.sched_getaffinity(0))


def pool_mb(limit_mb: int, capability: tuple[int, int] | None) -> int:
    """Return the memory pool that stays inside a grant, in MiB: the context and the libraries lie outside of the pool.

    At least half of the grant, so that a small one is not eaten up by an estimate.

    >>> pool_mb(8192, (8, 6)), pool_mb(1000, (9, 0)), pool_mb(8192, None)
    (6656, 500, 6392)
    """
    outside = _OUTSIDE_POOL_NEWER_MB
    if capability is not None:
        outside = _OUTSIDE_POOL_MB.get(max(6, capability[0]), _OUTSIDE_POOL_NEWER_MB)
    return max(limit_mb - outside, limit_mb // 2)


def _limit_gpus(process: ProcessSettings) -> list[object]:
    """Hide the cards from a process of the CPU; cap the pool on each card of the others. Return the visible cards."""
    import tensorflow as tf  # noqa: PLC0415

    gpus: list[object] = tf.config.list_physical_devices("GPU")
    if process.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return []
    if process.memory_limit_mb is not None and gpus:
        if os.environ.pop("TF_GPU_ALLOCATOR", None):
            log.warning("TF_GPU_ALLOCATOR is ignored: with it the granted memory would be no limit")
        for gpu in gpus:
            pool = pool_mb(process.memory_limit_mb, _capability(gpu))
            limit = tf.config.LogicalDeviceConfiguration(memory_limit=pool)
            tf.config.set_logical_device_configuration(gpu, [limit])
            log.info("GPU memory: a pool of %d MiB inside a grant of %d MiB", pool, process.memory_limit_mb)
    return gpus


def _capability(gpu: object) -> tuple[int, int]:
    """Return the compute capability of a card; (0, 0) where it is not told."""
    import tensorflow as tf  # noqa: PLC0415

    found = tf.config.experimental.get_device_details(gpu).get("compute_capability")
    return found or (0, 0)


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep away what TensorFlow writes to stderr while it is loaded, whatever its log level, unless loading fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            if failed:
                said.seek(0)
                sys.stderr.write(said.read().decode(errors="replace"))
