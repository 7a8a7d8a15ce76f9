"""TrainingMonitor: watches a training that the user runs, writes a report and tells how it ended."""

from __future__ import annotations

from parallel_ml.training_monitor.report import ReportGenerator
from parallel_ml.training_monitor.training_monitor import TrainingMonitor

__all__ = ["ReportGenerator", "TrainingMonitor"]
