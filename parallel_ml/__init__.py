"""Run many training configurations side by side on the GPUs of one machine.

Importing this package is light: no framework, no NVML and no web stack is loaded; each public name loads its own
module on first use.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from parallel_ml.config.manager import ConfigManager
    from parallel_ml.core.status import JobResult, JobStatus, RunStatus
    from parallel_ml.errors import ConfigError, ParallelMLError
    from parallel_ml.gpu.manager import GPUManager
    from parallel_ml.monitor.process_monitor import ProcessMonitor
    from parallel_ml.runtime.executor import ParallelMLExecutor
    from parallel_ml.training.alert_callback import AlertCallback
    from parallel_ml.training.parameters import params
    from parallel_ml.training.reporting import checkpoint_dir, report, should_stop
    from parallel_ml.training_monitor import TrainingMonitor

__all__ = [
    "AlertCallback",
    "ConfigError",
    "ConfigManager",
    "GPUManager",
    "JobResult",
    "JobStatus",
    "ParallelMLError",
    "ParallelMLExecutor",
    "ProcessMonitor",
    "RunStatus",
    "TrainingMonitor",
    "__version__",
    "checkpoint_dir",
    "params",
    "report",
    "should_stop",
]

__version__ = "0.1.0"

_HOMES = {
    "AlertCallback": "parallel_ml.training.alert_callback",
    "ConfigError": "parallel_ml.errors",
    "ConfigManager": "parallel_ml.config.manager",
    "GPUManager": "parallel_ml.gpu.manager",
    "JobResult": "parallel_ml.core.status",
    "JobStatus": "parallel_ml.core.status",
    "ParallelMLError": "parallel_ml.errors",
    "ParallelMLExecutor": "parallel_ml.runtime.executor",
    "ProcessMonitor": "parallel_ml.monitor.process_monitor",
    "RunStatus": "parallel_ml.core.status",
    "TrainingMonitor": "parallel_ml.training_monitor",
    "checkpoint_dir": "parallel_ml.training.reporting",
    "params": "parallel_ml.training.parameters",
    "report": "parallel_ml.training.reporting",
    "should_stop": "parallel_ml.training.reporting",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is public."""
    return sorted(__all__)
