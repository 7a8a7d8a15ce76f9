"""The cards and the host that jobs run on: sources of devices, leases between runs, and the manager over them."""

from __future__ import annotations

from parallel_ml.gpu.leases import Claim, Lease, Leases
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.gpu.sample import DeviceSample, ProcessUse
from parallel_ml.gpu.simulated import SimulatedDevices
from parallel_ml.gpu.source import DeviceSource, NoDevices

__all__ = [
    "Claim",
    "DeviceSample",
    "DeviceSource",
    "GPUManager",
    "Lease",
    "Leases",
    "NoDevices",
    "ProcessUse",
    "SimulatedDevices",
]
