# ruff: noqa: RUF001 - Chinese punctuation is meant
"""Which events of a run become messages, and when a new best is worth one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.core.status import JobResult, JobStatus, RunStatus
from parallel_ml.monitor.process_monitor import EventKind, MonitorEvent
from parallel_ml.notify.best import BestTracker, lowest_is_best, measure_of
from parallel_ml.notify.compose import Composer
from parallel_ml.notify.message import Kind, Message
from parallel_ml.notify.notices import WANTED, Notices

JOB = JobStatus(0, "a", "running", attempt=1, epoch=1, epochs=9)


class Run:
    """A run whose one job is as a test says, and the messages that come of its events."""

    def __init__(self, **settings: Any) -> None:
        """Watch it."""
        self.job, self.now, self.messages = JOB, 0.0, list[Message]()
        composer = Composer("run1", clock=lambda: self.now)
        self.notices = Notices([composer], self._put, self, clock=lambda: self.now, **settings)

    def status(self) -> RunStatus:
        """Return it."""
        return RunStatus("run1", "", "/r", self.job.state, None, "running", (self.job,))

    def result(self, job: JobStatus) -> JobResult:
        """Return what came of it."""
        return JobResult(job.name, job.state, job.outcome, {}, {}, {}, job.error)

    def tell(self, kind: EventKind, **data: Any) -> list[Kind]:
        """Return the kinds of messages that an event leads to."""
        before = len(self.messages)
        job = None if kind is EventKind.RUN_ENDED else "a"
        self.notices(MonitorEvent(kind, job, data))
        return [message.kind for message in self.messages[before:]]

    def state(self, state: str, attempt: int = 1) -> list[Kind]:
        """Change the job's state."""
        self.job = replace(self.job, state=state, attempt=attempt)
        return self.tell(EventKind.JOB_STATE, state=state, attempt=attempt)

    def epoch(self, number: int, **metrics: Any) -> list[Kind]:
        """End an epoch."""
        return self.tell(EventKind.EPOCH, epoch=number, **metrics)

    def _put(self, compose: Callable[[], Iterable[Message]]) -> None:
        self.messages += compose()


def test_the_kinds_to_subscribe_to_are_the_monitors() -> None:
    """Each is one that `subscribe` takes."""
    assert [EventKind(kind).value for kind in WANTED] == list(WANTED)


@pytest.mark.parametrize(
    ("state", "attempt", "kinds"),
    [
        ("running", 1, [Kind.STARTED]),
        ("running", 2, []),
        ("starting", 1, []),
        ("retrying", 1, []),
        ("completed", 1, [Kind.FINISHED]),
        ("failed", 1, [Kind.FAILED]),
        ("paused", 1, [Kind.INTERRUPTED]),
        ("stopped", 1, [Kind.INTERRUPTED]),
        ("stopped", 0, []),
    ],
)
def test_a_state_is_told_where_a_person_must_know(state: str, attempt: int, kinds: list[Kind]) -> None:
    """An attempt that is tried again by itself is none of that, nor is a job that never ran."""
    assert Run().state(state, attempt) == kinds


def test_a_lack_of_memory_is_told() -> None:
    """With what was done about it."""
    run = Run()
    assert run.tell(EventKind.OUT_OF_MEMORY, text="a grant of 8GiB instead of 4GiB", attempt=1) == [Kind.OUT_OF_MEMORY]


def test_an_end_of_the_run_is_told_as_what_it_is() -> None:
    """Done where every job is over, else left by its supervisor."""
    run = Run()
    assert run.tell(EventKind.RUN_ENDED, state="running") == [Kind.INTERRUPTED]
    run.job = replace(JOB, state="completed")
    assert run.tell(EventKind.RUN_ENDED, state="completed") == [Kind.RUN_DONE]


def test_a_log_line_costs_nothing() -> None:
    """Nothing is composed for it."""
    assert Run().tell(EventKind.LOG, message="x") == []


def test_only_a_real_improvement_is_a_new_best() -> None:
    """Not the first epoch, not noise, not what is worse, not NaN."""
    run = Run()
    values = [0.5, 0.5005, 0.4, None, 0.6]
    told = [run.epoch(number, val_accuracy=value) for number, value in enumerate(values, 1)]
    assert told == [[], [], [], [], [Kind.NEW_BEST]]
    assert run.messages[0].data["before"] == "0.5"


def test_new_bests_are_told_now_and_then() -> None:
    """What comes in between is told by the next one, as the best that it was."""
    run = Run(new_best_every_s=600.0)
    losses = [1.0, 0.9, 0.8, 0.7, 0.75, 0.75]
    told = []
    for number, loss in enumerate(losses, 1):
        run.now += 200.0
        told.append(run.epoch(number, val_loss=loss))
    assert [bool(kinds) for kinds in told] == [False, True, False, False, True, False]
    assert [message.data["value"] for message in run.messages] == ["0.9", "0.7"]


def test_what_was_told_before_a_restart_is_told_no_more(tmp_path: Path) -> None:
    """The epochs are read again from their beginning; only what is better than was told counts."""
    memory = tmp_path / "best.json"
    points = [{"epoch": n, "val_loss": value} for n, value in enumerate([1.0, 0.5], 1)]
    first = BestTracker(memory)
    assert [first.see("a", point, 100.0) is not None for point in points] == [False, True]
    again = BestTracker(memory)
    assert [again.see("a", point, 5000.0) for point in points] == [None, None]
    assert again.see("a", {"epoch": 3, "val_loss": 0.4}, 5000.0) is not None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 3}', '{"a": {"metric": "x"}}'])
def test_a_memory_that_is_torn_is_begun_anew(tmp_path: Path, text: str) -> None:
    """It costs a message too many at worst."""
    (tmp_path / "best.json").write_text(text, encoding="utf-8")
    assert BestTracker(tmp_path / "best.json").see("a", {"val_loss": 1.0}, 0.0) is None


def test_a_metric_whose_direction_is_not_known_is_no_measure() -> None:
    """Nobody can say what is better."""
    assert measure_of(["temperature", "my_score"]) == "my_score"
    assert measure_of(["temperature"]) is None
    assert lowest_is_best("lossless_ratio") is None


def test_an_alert_shows_its_values_with_their_units() -> None:
    """Sizes, shares and times as people read them; what is not known is left out."""
    run = Run()
    values = {"disk_free": 13_630_000.0, "gpu_utilization": 3.0, "time_per_epoch": 75.0, "val_loss": 0.123456}
    run.tell(EventKind.ALERT, id="x#1.1", alert="x", news="firing", values={**values, "loss": None}, epoch=3)
    told = run.messages[0].data["value"]
    assert told == "disk_free 13MiB, gpu_utilization 3%, time_per_epoch 1m15s, val_loss 0.1235, epoch 3"


def test_an_alert_is_chinese_in_chinese() -> None:
    """Its summary, its values and what is done."""
    messages: list[Message] = []
    notices = Notices([Composer("r", language="zh")], lambda compose: messages.extend(compose()), Run())
    text, data = "the disk is nearly full", {"id": "disk#1.1", "alert": "disk", "news": "firing", "action": "pause"}
    notices(MonitorEvent(EventKind.ALERT, "a", {**data, "text": text, "values": {"disk_free": 1.0}, "epoch": 3}))
    (message,) = messages
    assert message.data["text"] == "磁盘空间即将用尽"
    assert message.data["value"] == "disk_free 1B，第 3 轮"
    assert ("处置", "暂停训练") in message.blocks[1].rows  # type: ignore[union-attr]
