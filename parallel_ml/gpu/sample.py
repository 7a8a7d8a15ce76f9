"""What is measured of a card now, for `gpus`, metrics and people; placement needs less: `core.model.Device`."""

from __future__ import annotations

from dataclasses import dataclass

from parallel_ml.gpu.xid import XidEvent


@dataclass(frozen=True)
class ProcessUse:
    """What one process does on a card.

    Attributes:
        pid: Its number, as the driver tells it.
        memory_bytes: What it holds there; None where that is not measurable (some containers, WSL).
        utilization_percent: Its part of the card's time; None where that is not told.
    """

    pid: int
    memory_bytes: int | None = None
    utilization_percent: int | None = None


@dataclass(frozen=True)
class DeviceSample:
    """One card, measured. None is "not known" everywhere, never 0.

    Attributes:
        index: Its place in PCI bus order.
        memory_bytes: All of its memory that programs can have.
        used_bytes: What is in use, by whomever.
        utilization_percent: The part of the last second in which something ran on it; 0 does not mean that it is free.
        power_w: What it draws now.
        energy_j: What it has drawn since the driver was loaded.
        processes: Who is on it; None where that is not told.
        ecc_uncorrected: Errors of its memory that could not be corrected, since the driver was loaded.
        repair_pending: Whether bad memory waits for a reset to be taken out of use.
        slowed_by: What keeps its clocks down now: `thermal`, `power`, `hardware`; () is nothing.
        last_xid: The last Xid that was heard of since the machine was started; only a run listens.
        bus: Where it is, such as `0000:01:00.0`, or "".
        trouble: Why it cannot be used, or "".
    """

    index: int
    uuid: str
    name: str
    memory_bytes: int
    used_bytes: int | None = None
    utilization_percent: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    energy_j: float | None = None
    processes: tuple[ProcessUse, ...] | None = None
    ecc_uncorrected: int | None = None
    repair_pending: bool | None = None
    slowed_by: tuple[str, ...] | None = None
    last_xid: XidEvent | None = None
    bus: str = ""
    trouble: str = ""
