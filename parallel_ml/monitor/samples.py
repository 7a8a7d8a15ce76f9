"""What the processes of each running job take of the machine, sampled: `samples.jsonl` of each attempt.

Memory is the sum of the resident sets of all processes of the job: what they share is counted once for each, so that
it is rather too much than too little. CPU is in percent of one core, of all processes together. Energy is that of the
cards alone (`energy.py`): what a processor draws is told to root only, and of no single job.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallel_ml.core.model import Attempt, GpuShare, Job
from parallel_ml.core.units import MIB
from parallel_ml.errors import StoreError
from parallel_ml.monitor.energy import JobEnergy
from parallel_ml.store.files import open_plain, read_json, read_whole, write_whole
from parallel_ml.store.identity import is_alive
from parallel_ml.store.job_status import last_metrics
from parallel_ml.store.layout import AttemptLayout, RunLayout

if TYPE_CHECKING:
    from parallel_ml.gpu.sample import DeviceSample

EVERY_S = 2.0
LOOK_S = 0.25
"""An attempt that began is seen, and first sampled, within this time."""
MAX_BYTES = 1 << 20
"""A file of samples that has grown to this is thinned: every second sample goes."""
_LEAST_SPAN_S = 0.1
_TICKS, _CHILDREN_TICKS = slice(10, 12), slice(12, 14)
"""Places in `_stat`: of what it has used itself, and of its children that were waited for; user and system."""
_THREADS, _RESIDENT_PAGES = 16, 20
_log = logging.getLogger("parallel_ml")


@dataclass(frozen=True)
class TreeUse:
    """What the processes below a shim take at one moment.

    Attributes:
        cpu_s: CPU time so far, of those that have ended as well.
        memory_bytes: The sum of their resident sets.
        pids: The living ones.
    """

    cpu_s: float
    memory_bytes: int
    threads: int
    pids: frozenset[int]


@dataclass
class _Sampled:
    """An attempt that is sampled: where it stood at the last sample, and its peaks so far. Times are since boot."""

    files: AttemptLayout
    started: float
    at: float
    cpu_s: float = 0.0
    memory_peak_mb: float | None = None
    gpu_memory_peak_mb: float | None = None
    holds_cards: bool = False
    energy: JobEnergy = field(default_factory=lambda: JobEnergy(()))


class Sampler:
    """Samples the running jobs of one run, in their supervisor's turn. Where it fails it stops, and hurts nothing."""

    def __init__(
        self,
        layout: RunLayout,
        cards: Callable[[], Sequence[DeviceSample]],
        leased: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """Sample nothing yet.

        Args:
            layout: The run's files.
            cards: Returns what is measured of the cards now; asked only when a job that holds one is sampled.
            leased: Returns how much of each card's room for jobs other runs have.
        """
        self._layout, self._cards, self._leased = layout, cards, leased
        self._granted: dict[str, float] = {}
        self._sampled: dict[str, _Sampled] = {}
        self._look_at = self._sample_all_at = 0.0
        self._broken = False

    def poll(self, jobs: Iterable[Job]) -> None:
        """Sample the jobs that run: new ones at once, all others when it is time."""
        now = time.monotonic()
        if now < self._look_at or self._broken:
            return
        self._look_at = now + LOOK_S
        all_of_them = now >= self._sample_all_at
        if all_of_them:
            self._sample_all_at = now + EVERY_S
        try:
            live = [
                (job, attempt)
                for job in jobs
                if (attempt := job.attempt) is not None and attempt.ended_at is None and attempt.shim is not None
            ]
            wanted = [one for one in live if all_of_them or one[0].name not in self._sampled]
            if wanted:
                self._granted = _granted(live, self._leased())
                self._sample(wanted)
        except Exception:  # noqa: BLE001 - a figure for people must never hurt a run
            self._broken = True
            _log.warning("sampling what jobs take failed, and is given up", exc_info=True)

    def ended(self, job: str, number: int) -> None:
        """Write the last line of an attempt that has ended: its totals, from its own record of the end as well."""
        sampled = self._sampled.pop(job, None)
        try:
            files = self._layout.job(job).attempt(number)
            told = read_json(files.exit)
            if not isinstance(told, dict) or told.get("cpu_s") is None:
                return
            if sampled is not None and sampled.holds_cards:
                sampled.energy.finish(self._cards(), _steady())
            until = _steady() if sampled is not None else told["ended"]
            sampled = sampled or _begin(files, told["started"])
            sampled.cpu_s = max(sampled.cpu_s, told["cpu_s"])
            sampled.memory_peak_mb = _most(sampled.memory_peak_mb, _mb(told["max_rss_bytes"]))
            _append(files.samples, {"timestamp": _iso(told["ended"]), **_totals(sampled, until), "ended": True})
        except FileNotFoundError:  # the job has removed the folder, or put something else in the file's place
            return
        except Exception:  # noqa: BLE001 - as above
            _log.warning("the totals of %s could not be written", job, exc_info=True)

    def _sample(self, wanted: Sequence[tuple[Job, Attempt]]) -> None:
        cards = self._cards() if any(attempt.allocation.shares for _, attempt in wanted) else ()
        for job, attempt in wanted:
            if attempt.shim is None or not is_alive(attempt.shim):  # of another host, or about to be found dead
                continue
            use = tree_use(attempt.shim.pid)
            if use is None:
                continue
            now = _steady()
            sampled = self._sampled.get(job.name)
            if sampled is None:
                files = self._layout.job(job.name).attempt(attempt.number)
                started = (attempt.process or attempt.shim).start_ticks / os.sysconf("SC_CLK_TCK")
                sampled = _begin(files, started, attempt.allocation.shares)
                self._sampled[job.name] = sampled
            on_cards: tuple[float | None, int | None] = (None, None)
            if sampled.holds_cards:
                on_cards = card_use(cards, use.pids)
                sampled.energy.take(cards, use.pids, self._granted, now)
            record = _record(sampled, use, now, *on_cards)
            with contextlib.suppress(OSError, StoreError):  # a full disk has no room for this
                _append(sampled.files.samples, record)


def tree_use(shim: int) -> TreeUse | None:
    """Return what the processes below a shim take now; None where it is gone or not to be seen."""
    try:
        below, waited = _below(shim), _stat(shim)
    except OSError:
        return None
    ticks = sum(waited[_CHILDREN_TICKS])
    pages, threads, pids = 0, 0, []
    for pid in below:
        with contextlib.suppress(OSError):
            told = _stat(pid)
            ticks += sum(told[_TICKS]) + sum(told[_CHILDREN_TICKS])
            if told[_RESIDENT_PAGES]:  # a corpse has none
                pages += told[_RESIDENT_PAGES]
                threads += told[_THREADS]
                pids.append(pid)
    cpu_s, memory_bytes = ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")
    return TreeUse(cpu_s, memory_bytes, threads, frozenset(pids))


def _stat(pid: int) -> list[int]:
    """Return the numbers in /proc/PID/stat that follow the process's state, see proc(5).

    Of many processes this is looked at many times: it costs a tenth of asking a library for each figure.
    """
    with open(f"/proc/{pid}/stat", "rb") as stream:
        stat = stream.read()
    return [int(field) for field in stat[stat.rindex(b")") + 4 :].split()]


def card_use(cards: Iterable[DeviceSample], pids: frozenset[int]) -> tuple[float | None, int | None]:
    """Return the MiB that processes hold on cards, and their part of the cards' time in percent; None is not told."""
    uses = [use for card in cards for use in card.processes or () if use.pid in pids]
    held = [use.memory_bytes for use in uses if use.memory_bytes is not None]
    busy = [use.utilization_percent for use in uses if use.utilization_percent is not None]
    return (_mb(sum(held)) if held else None, sum(busy) if busy else None)


def _below(root: int) -> list[int]:
    """Return the processes below one, in time that is in proportion to their number, not to that of all processes."""
    found: list[int] = []
    queue = [root]
    while queue:
        pid = queue.pop()
        below: list[int] = []
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(ProcessLookupError), open(f"/proc/{pid}/task/{task}/children", "rb") as stream:
                    below += map(int, stream.read().split())
        except OSError:
            if pid == root:
                raise
        found += below
        queue += below
    return found


def _granted(live: Iterable[tuple[Job, Attempt]], leased: Mapping[str, float]) -> dict[str, float]:
    """Return how much of each card's room for jobs is granted, to this run and to others."""
    found = dict(leased)
    for _, attempt in live:
        for share in attempt.allocation.shares:
            found[share.gpu_uuid] = found.get(share.gpu_uuid, 0.0) + share.slot_fraction
    return found


def _steady() -> float:
    """Return the seconds since boot, as processes' start times are told: nobody sets that clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _begin(files: AttemptLayout, started: float, shares: Sequence[GpuShare] = ()) -> _Sampled:
    """Begin with an attempt, or go on where another supervisor left it."""
    sampled = _Sampled(files, started, started, holds_cards=bool(shares), energy=JobEnergy(shares))
    with contextlib.suppress(StoreError, OverflowError):  # what cannot be read is begun anew
        last = {name: one for name, one in last_metrics(files.samples).items() if isinstance(one, (int, float))}
        sampled.memory_peak_mb = last.get("memory_peak_mb")
        sampled.gpu_memory_peak_mb = last.get("gpu_memory_peak_mb")
        if "energy_wh" in last:
            sampled.energy = JobEnergy(shares, float(last["energy_wh"]))
    return sampled


def _record(
    sampled: _Sampled, use: TreeUse, now: float, gpu_memory_mb: float | None, gpu_utilization: int | None
) -> dict[str, Any]:
    """Return a sample, and take it into the totals."""
    percent = 100 * max(0.0, use.cpu_s - sampled.cpu_s) / max(_LEAST_SPAN_S, now - sampled.at)
    memory_mb = _mb(use.memory_bytes)
    sampled.at, sampled.cpu_s = now, max(sampled.cpu_s, use.cpu_s)
    sampled.memory_peak_mb = _most(sampled.memory_peak_mb, memory_mb)
    sampled.gpu_memory_peak_mb = _most(sampled.gpu_memory_peak_mb, gpu_memory_mb)
    return {
        "timestamp": _iso(time.time()),
        "cpu_percent": round(percent, 1),
        "memory_mb": memory_mb,
        "processes": len(use.pids),
        "threads": use.threads,
        "gpu_memory_mb": gpu_memory_mb,
        "gpu_utilization": gpu_utilization,
        **_totals(sampled, now),
    }


def _totals(sampled: _Sampled, now: float) -> dict[str, Any]:
    return {
        "cpu_seconds": round(sampled.cpu_s, 2),
        "cpu_mean_percent": round(100 * sampled.cpu_s / max(_LEAST_SPAN_S, now - sampled.started), 1),
        "memory_peak_mb": sampled.memory_peak_mb,
        "gpu_memory_peak_mb": sampled.gpu_memory_peak_mb,
        "energy_wh": sampled.energy.wh,
        "energy_estimated": None if sampled.energy.wh is None else sampled.energy.estimated,
    }


def _append(path: Path, record: dict[str, Any]) -> None:
    """Append a line, whole or not at all; thin the file first where it has become large."""
    line = json.dumps(record).encode() + b"\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    with os.fdopen(open_plain(path, links=False, flags=flags), "ab", buffering=0) as stream:
        end = stream.tell()
        if end + len(line) <= MAX_BYTES:
            if stream.write(line) != len(line):
                stream.truncate(end)
            return
    lines = read_whole(path, links=False).splitlines(keepends=True)
    write_whole(path, b"".join(lines[::2]) + line)


def _most(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)


def _mb(size_bytes: int) -> float:
    return round(size_bytes / MIB, 1)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
