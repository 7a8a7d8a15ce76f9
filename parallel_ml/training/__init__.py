"""The child side: what runs inside a training process.

`reporting` is for anybody's script and needs the standard library alone. The rest is the built-in training (`python -m
parallel_ml.training RESOLVED_YAML`), which needs TensorFlow; importing this package loads none of it.
"""

from __future__ import annotations

from parallel_ml.training.reporting import checkpoint_dir, report, should_stop

__all__ = ["checkpoint_dir", "report", "should_stop"]
