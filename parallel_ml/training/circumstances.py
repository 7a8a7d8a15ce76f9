"""What the last bit of a training depends on beside its configuration: versions, threads, device, processor."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = {"onednn": "the oneDNN flag"}


def circumstances() -> dict[str, Any]:
    """Return those of this process; TensorFlow must be configured."""
    import keras  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0)),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
        "device": "gpu" if tf.config.get_visible_devices("GPU") else "cpu",
        "processor": _processor(),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what has changed, in words; "" where nothing has.

    >>> differences({"keras": "3.14.0", "threads": 2}, {"keras": "3.15.1", "threads": 2})
    'keras 3.14.0 -> 3.15.1'
    """
    changed = [
        f"{_NAMES.get(name, name)} {_told(before[name])} -> {_told(value)}"
        for name, value in now.items()
        if name in before and before[name] != value
    ]
    return ", ".join(changed)


def _told(value: object) -> str:
    return "unset" if value is None else str(value)


def _processor() -> str:
    """Return the processor's model: its vector instructions decide the order of sums."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return platform.machine()
