"""Alerts over time: pending, firing, resolved, what is told, what is done, and what survives a restart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.core.alert_rules import AlertAction, make_rules
from parallel_ml.core.alerts import (
    AlertInputs,
    AlertNotification,
    AlertOrder,
    AlertState,
    News,
    step,
)
from parallel_ml.core.codec import decode, encode


class Job:
    """A job whose alerts are stepped through; `restart` writes the state down and reads it back each time."""

    def __init__(self, *rules: Any, restart: bool = False, builtin: bool | Sequence[str] = False) -> None:
        """Begin with nothing seen."""
        self.rules = make_rules(rules, builtin=builtin)
        self.state = AlertState()
        self.restart = restart
        self.told: list[AlertNotification] = []
        self.orders: list[AlertOrder] = []

    def epoch(self, number: int, now: float = 0.0, **values: Any) -> list[str]:
        """Take the line of an epoch."""
        return self.look(now, points=[{"epoch": number, **values}])

    def look(self, now: float, **inputs: Any) -> list[str]:
        """Take a step; return what was told, `rule news`."""
        self.state, told, orders = step(self.state, self.rules, AlertInputs(**inputs), now)
        if self.restart:
            self.state = decode(AlertState, json.loads(json.dumps(encode(self.state), allow_nan=False)))
        self.told += told
        self.orders += orders
        return [f"{one.rule} {one.news}" for one in told]


def rule(expr: str = "x > 1", **keys: Any) -> dict[str, Any]:
    """Return a rule called `a`."""
    return {"alert": "a", "expr": expr, **keys}


@pytest.mark.parametrize("restart", [False, True])
def test_a_rule_fires_once_and_resolves_once(restart: bool) -> None:  # noqa: FBT001 - a parameter
    """However often the condition is looked at, and however often the supervisor is begun anew."""
    job = Job(rule(), restart=restart)
    told = [job.epoch(number, x=value) for number, value in enumerate([0, 2, 3, 4, 0, 0, 5], 1)]
    assert told == [[], ["a firing"], [], [], ["a resolved"], [], ["a firing"]]


@pytest.mark.parametrize("restart", [False, True])
def test_for_counts_the_epochs_in_which_it_is_true(restart: bool) -> None:  # noqa: FBT001
    """Three in a row make `3 epochs`; one that is not true begins the count again."""
    job = Job(rule(**{"for": "3 epochs"}), restart=restart)
    told = [job.epoch(number, x=value) for number, value in enumerate([2, 2, 0, 2, 2, 2, 2], 1)]
    assert told == [[], [], [], [], [], ["a firing"], []]


def test_for_counts_time() -> None:
    """It fires as soon as the time is over, with or without an epoch in between."""
    job = Job(rule(**{"for": "2m"}))
    assert job.epoch(1, now=1000.0, x=2) == []
    assert job.look(1119.0) == []
    assert job.look(1120.0) == ["a firing"]


def test_a_pause_does_not_count_for_the_time() -> None:
    """A job that went on a minute ago has not been idle for two."""
    job = Job(rule(**{"for": "2m"}))
    job.epoch(1, now=1000.0, x=2)
    assert job.look(1200.0, running_since=1140.0) == []
    assert job.look(1260.0, running_since=1140.0) == ["a firing"]


def test_it_goes_on_firing_for_a_while() -> None:
    """`keep_firing_for` swallows a short relief."""
    job = Job(rule(keep_firing_for="2 epochs"))
    told = [job.epoch(number, x=value) for number, value in enumerate([2, 0, 2, 0, 0, 0], 1)]
    assert told == [["a firing"], [], [], [], ["a resolved"], []]


def test_it_is_told_again_at_its_interval_alone() -> None:
    """Without `repeat_interval` never."""
    job = Job(rule(repeat_interval="1h"), {"alert": "b", "expr": "x > 1"})
    job.epoch(1, now=0.0, x=2)
    assert [job.look(now) for now in (1800.0, 3600.0, 3700.0, 7200.0)] == [
        [],
        ["a still_firing"],
        [],
        ["a still_firing"],
    ]


def test_resolving_can_be_silent() -> None:
    """`send_resolved: false`."""
    job = Job(rule(send_resolved=False))
    assert [job.epoch(number, x=value) for number, value in ((1, 2), (2, 0))] == [["a firing"], []]


def test_ids_are_the_same_when_a_step_is_taken_again() -> None:
    """So an outbox knows the message that a crash made twice; and no two messages of a job share one."""
    job = Job(rule(repeat_interval="1 epoch"))
    before = job.state
    job.epoch(1, x=2)
    again = step(before, job.rules, AlertInputs(points=[{"epoch": 1, "x": 2}]), 0.0)
    assert [one.id for one in again.notifications] == [one.id for one in job.told]
    for number, value in enumerate([2, 2, 0, 2, 0], 2):
        job.epoch(number, x=value)
    assert len({one.id for one in job.told}) == len(job.told) == 6


def test_a_loss_that_becomes_nan_resolves_nothing() -> None:
    """What is not known has not got better."""
    job = Job("loss > 2", builtin=["nan"])
    assert job.epoch(1, train_loss=3.0) == ["loss > 2 firing"]
    assert job.epoch(2, train_loss=None, nonfinite={"train_loss": "nan"}) == ["nan firing"]
    assert job.epoch(3, train_loss=1.0) == ["nan resolved", "loss > 2 resolved"]


def test_many_epochs_in_one_step_are_judged_one_by_one() -> None:
    """A supervisor that comes back finds out what happened meanwhile."""
    job = Job(rule(**{"for": "2 epochs"}))
    points = [{"epoch": number, "x": value} for number, value in enumerate([2, 2, 0, 2], 1)]
    assert job.look(0.0, points=points) == ["a firing", "a resolved"]


def test_an_action_is_ordered_once_with_its_reason() -> None:
    """Stop comes with the message's id and says which rule wants it."""
    job = Job("x > 1 for 2 epochs -> stop")
    for number in (1, 2, 3):
        job.epoch(number, x=2)
    assert [(one.action, one.epoch, one.id) for one in job.orders] == [(AlertAction.STOP, 2, job.told[0].id)]
    assert job.orders[0].reason == "alert x > 1: x > 1 for 2 epochs"


def test_the_rate_is_reduced_again_at_the_interval() -> None:
    """A plateau that lasts cuts the rate each time its interval is over."""
    job = Job(rule("plateau(val_loss, 2)", action="reduce_lr", factor=0.1, min=1e-5, repeat_interval="2 epochs"))
    for number in range(1, 8):
        job.epoch(number, val_loss=1.0)
    assert [one.epoch for one in job.orders] == [3, 5, 7]
    assert {(one.factor, one.minimum) for one in job.orders} == {(0.1, 1e-5)}


def test_a_misspelt_metric_is_named_once_after_the_first_epoch() -> None:
    """With what was seen and what was probably meant."""
    job = Job("val_los > 2", "absent(val_acc)")
    assert job.look(0.0) == []
    assert job.look(0.0, points=[{"epoch": 1, "val_loss": 1.0}], whole=True) == [
        "val_los > 2 unknown_metric",
        "absent(val_acc) firing",
    ]
    assert "did you mean val_loss?" in job.told[0].summary
    assert job.epoch(2, val_loss=1.0) == []


def test_an_epoch_may_be_told_in_parts() -> None:
    """What the second call of an epoch brings is not missed after the first one."""
    job = Job("val_loss > 2")
    assert job.epoch(1, now=0.0, train_loss=1.0) == []
    assert job.epoch(1, now=1.0, train_loss=1.0, val_loss=3.0) == ["val_loss > 2 firing"]
    never = Job("val_loss > 2")
    assert [never.epoch(1, now=0.0, train_loss=1.0), never.look(5.0), never.look(11.0)] == [
        [],
        [],
        ["val_loss > 2 unknown_metric"],
    ]


def test_a_card_that_is_left_alone_is_idle() -> None:
    """The driver tells nothing of a process that has not used its card for a while; the card's own figure counts."""
    job = Job("gpu_idle for 10s")
    quiet = {"gpu_memory_mb": 900.0, "gpu_utilization": None}
    told = [job.look(now, samples=[quiet], gpu_utilization=0.0) for now in (0.0, 10.0)]
    assert told == [[], ["gpu_idle firing"]]
    assert job.look(12.0, samples=[{"gpu_utilization": 60}], gpu_utilization=0.0) == ["gpu_idle resolved"]


def test_another_condition_under_the_name_begins_anew() -> None:
    """A rule that was changed between two supervisors does not go on where the old one was."""
    job = Job(rule("x > 1"))
    job.epoch(1, x=2)
    job.rules = make_rules([rule("x > 0")], builtin=False)
    assert job.look(0.0) == ["a firing"]
    assert job.told[0].id != job.told[1].id


def test_a_job_begun_anew_is_judged_anew() -> None:
    """`retry` of a stopped job must not stop it at once by what it told before."""
    job = Job("x > 1 -> stop")
    job.epoch(1, x=2)
    job.state = job.state.again()
    assert job.look(0.0) == []
    assert job.epoch(2, x=2) == ["x > 1 firing"]
    assert job.told[0].id != job.told[1].id


def test_a_summary_has_the_value_in_it() -> None:
    """Prometheus' placeholders are filled in; the values stand beside it for programs."""
    job = Job(rule(labels={"team": "vision"}, annotations={"summary": "x is {{ $value }} ({{ $labels.team }})"}))
    job.epoch(1, x=2.5)
    assert (job.told[0].summary, job.told[0].values) == ("x is 2.5 (vision)", {"x": 2.5})


def test_the_built_in_rules_watch_the_disk_and_for_silence() -> None:
    """They fire by what the supervisor hands in, without any metric."""
    job = Job(builtin=True)
    assert job.look(0.0, running_since=0.0, disk_free=1e12, last_log=0.0) == []
    assert job.look(1.0, running_since=0.0, disk_free=1e9, last_log=0.0) == ["disk firing"]
    assert job.look(4000.0, running_since=0.0, disk_free=1e12, last_log=0.0) == ["hang firing", "disk resolved"]


def test_samples_are_taken_with_the_grant() -> None:
    """GPU memory over its grant, for ten seconds."""
    job = Job("gpu_over_grant")
    sample = {"timestamp": "2026-01-01T12:00:00.000+00:00", "gpu_memory_mb": 4100.0, "gpu_utilization": None}
    told = [job.look(now, samples=[sample], gpu_memory_granted=4000 * 2**20) for now in (0.0, 5.0, 10.0)]
    assert told == [[], [], ["gpu_over_grant firing"]]


POINT = st.fixed_dictionaries(
    {},
    optional={
        "epoch": st.integers(1, 12),
        "x": st.sampled_from([0.0, 2.0, 5.0, None, float("nan"), float("inf")]),
        "time_per_epoch": st.sampled_from([1.0, 9.0, None]),
    },
)
RULES = (
    rule(**{"for": "2 epochs"}, keep_firing_for="1 epoch"),
    "rising(x, 2)",
    "plateau(x, 2)",
    "x > 1 for 5s",
    "slow_epoch",
    "absent(x)",
)


@given(st.lists(st.tuples(st.floats(0, 9), st.lists(POINT, max_size=3)), max_size=12))
def test_each_rule_fires_and_resolves_in_turns_whatever_comes(looks: list[tuple[float, list[dict[str, Any]]]]) -> None:
    """And a job whose supervisor is begun anew after every look is told the same, no id twice."""
    kept, restarted = Job(*RULES, builtin=["nan"]), Job(*RULES, builtin=["nan"], restart=True)
    now = 0.0
    for wait_s, points in looks:
        now += wait_s
        assert kept.look(now, points=points) == restarted.look(now, points=points)
    for one in kept.rules:
        news = [told.news.value for told in kept.told if told.rule == one.name and told.news != News.UNKNOWN_METRIC]
        assert news == (["firing", "resolved"] * len(news))[: len(news)]
    assert len({told.id for told in kept.told}) == len(kept.told)


def test_what_was_the_best_epoch_may_be_told_anew() -> None:
    """After a crash epoch 3 is trained again and gives something else; the best one is that of epoch 2 then."""
    job = Job("plateau(x, 2)")
    for number, value in ((1, 5.0), (2, 3.0), (3, 1.0), (3, 4.0)):
        assert job.epoch(number, x=value) == []
    assert job.epoch(4, x=4.0) == ["plateau(x, 2) firing"]


def test_the_state_stays_small() -> None:
    """A thousand epochs leave as much as a hundred do."""
    job = Job("plateau(x)", "avg(x, 20) > 1", "overfitting", builtin=True)
    sizes = []
    for number in range(1, 1001):
        job.epoch(number, x=1.0, y=2.0, time_per_epoch=1.0)
        if number in (100, 1000):
            sizes.append(len(json.dumps(encode(job.state))))
    assert sizes[1] < sizes[0] + 200
