"""Grants with a registry that cannot be used."""

from __future__ import annotations

import time
from pathlib import Path

from filelock import FileLock

from parallel_ml.core.model import Allocation, Device, GpuShare
from parallel_ml.core.units import GIB
from parallel_ml.gpu import GPUManager
from parallel_ml.gpu.leases import Claim, Leases
from parallel_ml.gpu.source import NoDevices
from parallel_ml.runtime.grants import Grants
from parallel_ml.store.identity import identify
from parallel_ml.store.layout import RunLayout


def test_a_registry_that_hangs_is_tried_again_only_after_a_while(tmp_path: Path) -> None:
    """It costs the supervisor one wait, not one at each turn; and it is told why nothing is placed."""
    me, folder = identify(), tmp_path / "leases"
    assert me is not None
    leases = Leases("run", folder, timeout_s=0.3)
    share = GpuShare(0, "GPU-a", GIB, 0.25, 0.25)
    leases.acquire([Claim("a", 1, Allocation(0, (share,)))], me, [Device(0, "GPU-a", "card", 16 * GIB)])
    grants = Grants(GPUManager(NoDevices()), leases, RunLayout(tmp_path / "run"), me)
    with FileLock(folder / "leases.lock", thread_local=False):
        grants.ended("a", 1)
        before = time.monotonic()
        for _ in range(10):
            grants.keep()
            grants.leased()
        assert time.monotonic() - before < 0.3
        assert "leases.lock" in grants.problem
    grants._idle_until = 0.0
    grants.keep()
    assert grants.problem == ""
    assert Leases("other", folder).others() == ()


def test_a_machine_without_cards_is_not_looked_at_for_each_start(tmp_path: Path) -> None:
    """Its cores and memory are read from the system's files, which takes longer than to start a job."""
    me = identify()
    assert me is not None
    grants = Grants(GPUManager(NoDevices()), Leases("run", tmp_path), RunLayout(tmp_path / "run"), me)
    seen = grants.look([])
    assert grants.look([]) is seen
    grants._bare_until = time.monotonic()
    assert grants.look([]) is not seen
