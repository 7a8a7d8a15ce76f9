"""The cores and the memory of the host, as far as this process may use them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from parallel_ml.core.units import MIB
from parallel_ml.gpu.host import usable_cores, usable_memory_bytes

if TYPE_CHECKING:
    from pathlib import Path

AFFINITY = len(os.sched_getaffinity(0))
BUILT_IN = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def host(root: Path, membership: str, **files: str) -> Path:
    """Write a control group tree under `root`; `job__cpu_max` stands for job/cpu.max."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership, encoding="utf-8")
    for name, text in files.items():
        *groups, last = name.split("__")
        folder = root.joinpath("sys/fs/cgroup", *groups)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / last.replace("_", ".")).write_text(text, encoding="utf-8")
    return root


def test_without_control_groups_it_is_the_machine(tmp_path: Path) -> None:
    """Where nothing limits the process, its affinity and what is built in stand."""
    assert (usable_cores(tmp_path), usable_memory_bytes(tmp_path)) == (AFFINITY, BUILT_IN)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", AFFINITY), ("100000 100000", 1), ("150000 100000", 1), ("50000 100000", 1), ("", AFFINITY)],
)
def test_the_cpu_quota_holds(tmp_path: Path, quota: str, expected: int) -> None:
    """A quota is rounded down to whole cores, and is never less than one."""
    assert usable_cores(host(tmp_path, "0::/\n", cpu_max=quota)) == expected


def test_a_quota_above_the_affinity_changes_nothing(tmp_path: Path) -> None:
    """A process cannot use more cores than it may run on."""
    assert usable_cores(host(tmp_path, "0::/\n", cpu_max="99900000 100000")) == AFFINITY


def test_the_memory_limit_holds(tmp_path: Path) -> None:
    """A limit below what is built in is what there is."""
    assert usable_memory_bytes(host(tmp_path, "0::/\n", memory_max=f"{64 * MIB}\n")) == 64 * MIB


def test_the_limit_of_a_group_above_holds_too(tmp_path: Path) -> None:
    """The least limit between the process's group and the top counts."""
    root = host(
        tmp_path,
        "0::/slice/job\n",
        slice__memory_max=str(64 * MIB),
        slice__job__memory_max="max",
        slice__cpu_max="100000 100000",
        slice__job__cpu_max="200000 100000",
    )
    assert (usable_cores(root), usable_memory_bytes(root)) == (1, 64 * MIB)


def test_cgroup_v1_is_not_read(tmp_path: Path) -> None:
    """The groups of version 1 are no limit that is known here."""
    root = host(tmp_path, "4:memory:/job\n", job__memory_max=str(MIB))
    assert usable_memory_bytes(root) == BUILT_IN
