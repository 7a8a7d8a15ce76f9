"""Samples of what jobs take: their file, their totals, and that they hurt nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.core.model import Allocation, Attempt, GpuShare, Job, JobSpec, ProcessId
from parallel_ml.core.units import MIB
from parallel_ml.gpu.sample import DeviceSample, ProcessUse
from parallel_ml.monitor import samples
from parallel_ml.monitor.samples import Sampler, card_use
from parallel_ml.store.identity import identify
from parallel_ml.store.layout import AttemptLayout, RunLayout


@pytest.fixture
def files(tmp_path: Path) -> AttemptLayout:
    """Return the first attempt of job `a`."""
    made = RunLayout(tmp_path).job("a").attempt(1)
    made.dir.mkdir(parents=True)
    return made


def job(shares: tuple[GpuShare, ...] = (), ended: float | None = None) -> Job:
    """Return job `a`, guarded by this very process."""
    now = time.time()
    shim: ProcessId | None = identify()
    attempt = Attempt(1, Allocation(0, shares), None, 1, now, now - 1, ended, shim, shim)
    return Job(JobSpec(0, "a", "a.yaml", "command", 1), attempts=(attempt,))


def lines(files: AttemptLayout) -> list[dict[str, Any]]:
    """Return the samples."""
    return [json.loads(line) for line in files.samples.read_text().splitlines()] if files.samples.exists() else []


def test_a_job_is_sampled_at_once_and_then_when_it_is_time(tmp_path: Path, files: AttemptLayout) -> None:
    """However often the supervisor turns."""
    sampler = Sampler(RunLayout(tmp_path), lambda: ())
    for _ in range(100):
        sampler.poll([job()])
    assert len(lines(files)) == 1


def test_a_clock_that_is_set_changes_no_figure(
    tmp_path: Path, files: AttemptLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans are told by the time since boot."""
    sampler, really = Sampler(RunLayout(tmp_path), lambda: ()), time.time
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    subprocess.run([sys.executable, "-IS", "-c", burn], check=True)
    for shift in (0.0, -3600.0, 7200.0):
        monkeypatch.setattr(time, "time", lambda shift=shift: really() + shift)
        sampler._look_at = sampler._sample_all_at = 0.0
        sampler.poll([job()])
    me = identify()
    assert me is not None
    steady = time.clock_gettime(time.CLOCK_BOOTTIME) - me.start_ticks / os.sysconf("SC_CLK_TCK")
    assert len(lines(files)) == 3
    for line in lines(files):
        assert line["cpu_seconds"] >= 0.3
        assert line["cpu_mean_percent"] == pytest.approx(100 * line["cpu_seconds"] / steady, rel=0.5)


def test_jobs_that_do_not_run_cost_nothing(tmp_path: Path, files: AttemptLayout) -> None:
    """No card is asked, nothing is written."""

    def refuse() -> tuple[DeviceSample, ...]:
        raise AssertionError

    Sampler(RunLayout(tmp_path), refuse).poll([job(ended=1.0), Job(JobSpec(1, "b", "b.yaml", "command", 1))])
    assert lines(files) == []


def test_a_sampler_that_fails_gives_up_and_hurts_nothing(
    tmp_path: Path, files: AttemptLayout, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, once."""

    def broken() -> tuple[DeviceSample, ...]:
        message = "no cards"
        raise RuntimeError(message)

    sampler = Sampler(RunLayout(tmp_path), broken)
    for _ in range(3):
        sampler.poll([job((GpuShare(0, "GPU-x", MIB, 0.5, 0.5),))])
        sampler._look_at = 0.0
    assert [record.message for record in caplog.records] == ["sampling what jobs take failed, and is given up"]


@pytest.mark.timeout(20)
def test_a_fifo_in_place_of_the_samples_holds_nobody_up(
    tmp_path: Path, files: AttemptLayout, caplog: pytest.LogCaptureFixture
) -> None:
    """The job goes without; the others are sampled."""
    os.mkfifo(files.samples)
    Sampler(RunLayout(tmp_path), lambda: ()).poll([job()])
    assert files.samples.is_fifo()
    assert caplog.records == []


@pytest.mark.parametrize("line", ["[" * 100_000 + "]" * 100_000, '{"memory_peak_mb": "x", "energy_wh": [1]}'])
def test_an_odd_last_sample_is_passed_over(
    tmp_path: Path, files: AttemptLayout, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    """A supervisor that takes over begins anew with the job, and gives up nobody."""
    files.samples.write_text(line + "\n", encoding="utf-8")
    Sampler(RunLayout(tmp_path), lambda: ()).poll([job()])
    assert files.samples.read_bytes().count(b"\n") == 2
    assert caplog.records == []


def test_a_file_of_samples_stays_small_and_covers_all_of_the_run(
    tmp_path: Path, files: AttemptLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is thinned, from the first sample to the newest."""
    monkeypatch.setattr(samples, "MAX_BYTES", 2_000)
    for number in range(100):
        samples._append(files.samples, {"number": number, "filler": "x" * 50})
        assert files.samples.stat().st_size <= 2_000
    numbers = [line["number"] for line in lines(files)]
    assert (numbers[0], numbers[-1]) == (0, 99)
    assert numbers == sorted(numbers)


def test_the_end_has_the_totals_also_of_a_job_too_short_to_be_sampled(tmp_path: Path, files: AttemptLayout) -> None:
    """From the record of the end; a peak that a sample saw is not forgotten, whoever took it."""
    files.exit.write_text(json.dumps({"started": 100.0, "ended": 104.0, "cpu_s": 6.0, "max_rss_bytes": 50 * MIB}))
    files.samples.write_text(json.dumps({"memory_peak_mb": 80.0, "gpu_memory_peak_mb": 7.0}) + "\n")
    Sampler(RunLayout(tmp_path), lambda: ()).ended("a", 1)
    last = lines(files)[-1]
    assert last.pop("timestamp") == "1970-01-01T00:01:44.000+00:00"
    assert last == {
        "cpu_seconds": 6.0,
        "cpu_mean_percent": 150.0,
        "memory_peak_mb": 80.0,
        "gpu_memory_peak_mb": 7.0,
        "energy_wh": None,
        "energy_estimated": None,
        "ended": True,
    }


def test_an_attempt_that_never_started_has_no_totals(tmp_path: Path, files: AttemptLayout) -> None:
    """There is no record of its end, or one without figures."""
    sampler = Sampler(RunLayout(tmp_path), lambda: ())
    sampler.ended("a", 1)
    files.exit.write_text(json.dumps({"started": 1.0, "ended": 2.0, "cpu_s": None, "max_rss_bytes": None}))
    sampler.ended("a", 1)
    assert lines(files) == []


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        (None, (None, None)),
        ((ProcessUse(99, 5 * MIB, 50),), (None, None)),
        ((ProcessUse(7, None, None),), (None, None)),
        ((ProcessUse(7, 3 * MIB, 20), ProcessUse(8, MIB, 30), ProcessUse(99, MIB, 1)), (4.0, 50)),
    ],
)
def test_what_a_job_does_on_a_card_is_what_its_own_processes_do(
    processes: tuple[ProcessUse, ...] | None, expected: tuple[float | None, int | None]
) -> None:
    """What is not told is not known, never 0."""
    card = DeviceSample(0, "GPU-x", "card", MIB, processes=processes)
    assert card_use([card], frozenset({7, 8})) == expected


def test_a_process_that_is_gone_cannot_be_sampled() -> None:
    """Nor one that never was."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert samples.tree_use(pid) is None
