"""GPUManager: what jobs can be placed on here, and what a job's process is told of its part."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from parallel_ml.core.batch import BatchPlan, plan_batch
from parallel_ml.core.model import Job, Machine, RunState
from parallel_ml.core.placement import check_fits, place
from parallel_ml.errors import UsageError
from parallel_ml.gpu.environment import child_environment, child_notes
from parallel_ml.gpu.host import usable_cores, usable_memory_bytes
from parallel_ml.gpu.leases import with_leases
from parallel_ml.gpu.simulated import SPEC_PREFIX, SimulatedDevices
from parallel_ml.gpu.source import DeviceSource, NoDevices, detect_devices

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from parallel_ml.core.model import Allocation, JobSpec
    from parallel_ml.gpu.leases import Lease
    from parallel_ml.gpu.sample import DeviceSample
    from parallel_ml.gpu.xid import XidEvent


class GPUManager:
    """The cards and the host's resources, read again at each look. What this machine has is looked for at the first.

    >>> gpus = GPUManager.from_spec("sim:2x16GiB")
    >>> [device.uuid for device in gpus.snapshot().devices]
    ['SIM-0', 'SIM-1']

    """

    def __init__(
        self, source: DeviceSource | None = None, *, cores: int | None = None, memory_bytes: int | None = None
    ) -> None:
        """Take the cards from `source`.

        Args:
            source: Owned from now on, and closed with the manager; None takes what this machine has.
            cores: What to believe of the host instead of looking, for tests and plans.
            memory_bytes: The same of its memory.
        """
        self._cores, self._memory_bytes = cores, memory_bytes
        self._given = source

    @classmethod
    def detect(cls) -> GPUManager:
        """Return a manager over what this machine has; `notes` say what was found."""
        return cls()

    @classmethod
    def from_spec(cls, spec: str) -> GPUManager:
        """Return the manager that a value of `--gpus` names: `sim:2x16GiB,1x8GiB`, `none` or `auto`.

        Raises:
            UsageError: It names none of them.
        """
        wanted = spec.strip()
        if wanted == "auto":
            return cls.detect()
        if wanted == "none":
            return cls(NoDevices())
        if wanted.startswith(SPEC_PREFIX):
            return cls(SimulatedDevices.from_spec(wanted))
        raise UsageError(
            f"--gpus {spec!r} is not known",
            "write sim:2x16GiB (simulated GPUs), none (the CPU) or auto (what is there)",
        )

    @cached_property
    def _source(self) -> DeviceSource:
        return detect_devices() if self._given is None else self._given

    @property
    def spec(self) -> str:
        """The word for `--gpus` that makes a like manager again."""
        return "auto" if self._given is None else self._given.spec

    @property
    def simulated(self) -> bool:
        """Whether the cards exist on paper only."""
        return self._given is not None and self._given.simulated

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines that a user should see before the run."""
        machine = self.snapshot()
        note = self._source.note
        if machine.devices:
            return (note,) if note else ()
        return (f"{note}: jobs run on the CPU, {machine.cpu_slots} at a time",)

    def snapshot(self, own_pids: Collection[int] = (), others: Collection[Lease] = ()) -> Machine:
        """Return the machine as it is now.

        Args:
            own_pids: Processes of this run, the shims of its attempts say: what they and their descendants hold on a
                card is not foreign.
            others: What other runs have leased; see `Leases.others`.
        """
        cores = usable_cores() if self._cores is None else self._cores
        memory_bytes = usable_memory_bytes() if self._memory_bytes is None else self._memory_bytes
        devices = self._source.devices(own_pids)
        if others and not self.simulated:
            devices = with_leases(devices, others, self._source.held({lease.holder.pid for lease in others}))
        return Machine(devices, cores, memory_bytes)

    def samples(self) -> tuple[DeviceSample, ...]:
        """Return what is measured of the cards now: use, temperature, power, and who is on them."""
        return self._source.samples()

    def xids(self) -> tuple[XidEvent, ...]:
        """Return the Xids of the cards that were heard of while jobs ran, the oldest first."""
        return self._source.xids()

    def allocate(self, specs: Sequence[JobSpec]) -> list[Allocation | None]:
        """Return what a fresh run of these jobs would hold at its start, in their order; None is a job that waits.

        Raises:
            PlacementError: A job can never fit on this machine.
        """
        machine = self.snapshot()
        check_fits(specs, machine)
        placements = place(RunState(jobs={spec.name: Job(spec) for spec in specs}), machine)
        by_name = {placement.job: placement.allocation for placement in placements}
        return [by_name.get(spec.name) for spec in specs]

    def environment(self, allocation: Allocation, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return what to set in the environment of a process that holds `allocation`.

        Args:
            allocation: What the process was granted.
            base: The environment that it inherits; None is this process's own.
        """
        return child_environment(allocation, os.environ if base is None else base)

    def environment_notes(self, allocation: Allocation, base: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Return a line for each setting of `base` that `environment` overrules, since it would undo the grant."""
        return child_notes(allocation, os.environ if base is None else base)

    def scale_batch(self, requested: int, allocation: Allocation) -> BatchPlan:
        """Return the batch and the accumulation that keep `requested` samples an update within the grant."""
        return plan_batch(requested, allocation.memory_limit_mb)

    def close(self) -> None:
        """Close the source, if it was ever looked for."""
        if self._given is not None or "_source" in vars(self):
            self._source.close()
