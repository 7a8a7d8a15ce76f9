"""How a card is, as NVML tells it: heat, power, faults of its memory, what slows it down; each may be missing."""

from __future__ import annotations

from typing import Any, TypedDict

from parallel_ml.gpu.nvml_library import Nvml

_TEMPERATURE_GPU = 0
_UNCORRECTED, _VOLATILE = 1, 0
"""nvmlMemoryErrorType_t and nvmlEccCounterType_t (nvml.h): errors that harmed data, since the driver was loaded."""
_SLOWED_BY = {
    "thermal": 0x20 | 0x40,
    "power": 0x04 | 0x80,
    "hardware": 0x08,
}
"""nvmlClocksEventReason... (nvml.h): SwThermalSlowdown, HwThermalSlowdown; SwPowerCap, HwPowerBrakeSlowdown; and
HwSlowdown, which the hardware ones set as well. The other reasons, such as an idle card, are no trouble."""


class Health(TypedDict):
    """The figures of `DeviceSample` that are read here."""

    temperature_c: int | None
    power_w: float | None
    energy_j: float | None
    ecc_uncorrected: int | None
    repair_pending: bool | None
    slowed_by: tuple[str, ...] | None


def health(nvml: Nvml, uuid: str, handle: Any) -> Health:
    """Return how a card is.

    Raises:
        CardLost: It does not answer any more.
    """
    power_mw = nvml.ask(uuid, "nvmlDeviceGetPowerUsage", handle)
    energy_mj = nvml.ask(uuid, "nvmlDeviceGetTotalEnergyConsumption", handle)
    return {
        "temperature_c": nvml.ask(uuid, "nvmlDeviceGetTemperature", handle, _TEMPERATURE_GPU),
        "power_w": None if power_mw is None else power_mw / 1000,
        "energy_j": None if energy_mj is None else energy_mj / 1000,
        "ecc_uncorrected": nvml.ask(uuid, "nvmlDeviceGetTotalEccErrors", handle, _UNCORRECTED, _VOLATILE),
        "repair_pending": _repair_pending(nvml, uuid, handle),
        "slowed_by": _slowed_by(nvml, uuid, handle),
    }


def _repair_pending(nvml: Nvml, uuid: str, handle: Any) -> bool | None:
    """Return whether bad memory waits for a reset to be taken out of use: rows from Ampere on, pages before."""
    rows = nvml.ask(uuid, "nvmlDeviceGetRemappedRows", handle)  # (corrected, uncorrected, pending, failed)
    pages = nvml.ask(uuid, "nvmlDeviceGetRetiredPagesPendingStatus", handle)
    if rows is None and pages is None:
        return None
    return bool(rows and rows[2]) or bool(pages)


def _slowed_by(nvml: Nvml, uuid: str, handle: Any) -> tuple[str, ...] | None:
    bits = nvml.ask(uuid, "nvmlDeviceGetCurrentClocksEventReasons", handle)
    if bits is None:  # before driver R535 it had another name
        bits = nvml.ask(uuid, "nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    if bits is None:
        return None
    found = tuple(name for name, mask in _SLOWED_BY.items() if bits & mask)
    return found[:-1] if len(found) > 1 and found[-1] == "hardware" else found
