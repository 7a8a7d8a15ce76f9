"""All that the built-in training imports, for a process from which trainings are forked. Nothing else happens here.

No tensor, model, optimizer or dataset may be made before a fork, and no device listed: TensorFlow would start threads.
"""

from __future__ import annotations

from parallel_ml.training.devices import load_framework

load_framework(None)

from parallel_ml.training import __main__, alert_callback, pipeline, statefile  # noqa: E402 - they import the framework

__all__ = ["__main__", "alert_callback", "pipeline", "statefile"]
