"""The cards and the host that jobs run on: sources of devices, and the manager over them."""

from __future__ import annotations

from parallel_ml.gpu.manager import GPUManager
from parallel_ml.gpu.simulated import SimulatedDevices
from parallel_ml.gpu.source import DeviceSource, NoDevices

__all__ = ["DeviceSource", "GPUManager", "NoDevices", "SimulatedDevices"]
