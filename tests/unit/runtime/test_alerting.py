"""Alert rules in the supervisor's turn."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from parallel_ml.core.alert_rules import make_rules
from parallel_ml.core.model import Allocation, Attempt, Job, JobSpec, JobState
from parallel_ml.monitor.process_monitor import EventKind, MonitorEvent, ProcessMonitor
from parallel_ml.runtime.alerting import SAVE_AFTER_S, Alerting
from parallel_ml.store.layout import RunLayout


def test_a_job_that_has_finished_is_forgotten_and_a_retry_knows_what_was_told(tmp_path: Path) -> None:
    """Of thousands of jobs nothing stays in memory; the same alert of a second try is another one."""
    layout = RunLayout(tmp_path)
    layout.job("a").attempt(1).dir.mkdir(parents=True)
    monitor, told = ProcessMonitor(tmp_path), list[tuple[str, str]]()
    monitor.subscribe(lambda event: told.append((event.data["news"], event.data["id"])), "alert")
    alerting = Alerting(
        layout, lambda _: make_rules([{"alert": "high", "expr": "x > 1"}], builtin=False), monitor, tuple
    )
    attempt = Attempt(1, Allocation(0), None, 1, placed_at=1.0, started_at=2.0)
    job = Job(JobSpec(0, "a", "a.yaml", "command", 1), JobState.RUNNING, (attempt,))
    for now, running in ((10.0, job), (20.0, replace(job, fresh_starts=1))):
        monitor.emit(MonitorEvent(EventKind.EPOCH, "a", {"epoch": 1, "x": 5.0}))
        alerting.poll([running], now)
        alerting.ended("a")
        assert "a" in alerting._states, "it is not on disk yet"
        alerting.poll([], now + SAVE_AFTER_S)
        assert (alerting._states, alerting._rules, alerting._points, alerting._over) == ({}, {}, {}, set())
    assert [news for news, _ in told] == ["firing", "firing"]
    assert len({identity for _, identity in told}) == 2


def test_a_job_that_was_held_hangs_no_sooner_than_after_it_went_on(tmp_path: Path) -> None:
    """However long it ran before, and however long it was held."""
    layout = RunLayout(tmp_path)
    layout.job("a").attempt(1).dir.mkdir(parents=True)
    layout.job("a").log.touch()
    os.utime(layout.job("a").log, (10_000.0, 10_000.0))
    monitor, told = ProcessMonitor(tmp_path), list[str]()
    monitor.subscribe(lambda event: told.append(event.data["alert"]), "alert")
    alerting = Alerting(layout, lambda _: make_rules(["since_log() > 30m"], builtin=False), monitor, tuple)
    attempt = Attempt(1, Allocation(0), None, 1, placed_at=1.0, started_at=2.0, held_s=3600.0, thawed_at=13_600.0)
    job = Job(JobSpec(0, "a", "a.yaml", "command", 1), JobState.RUNNING, (attempt,))
    alerting.poll([job], 13_605.0)
    assert told == []
    alerting.poll([job], 13_600.0 + 1801.0)
    assert told == ["since_log() > 30m"]
