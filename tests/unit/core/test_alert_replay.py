"""Alert rules over a training that is over: they fire when they would have fired."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.core.alert_replay import Past, Stay, can_be_replayed, replay, times_of
from parallel_ml.core.alert_rules import make_rules

START = 1_800_000_000.0


def points(*took: float | None, **values: list[float]) -> list[dict[str, Any]]:
    """Return the lines of epochs that took so long."""
    return [
        {"epoch": place + 1, "time_per_epoch": one, **{name: told[place] for name, told in values.items()}}
        for place, one in enumerate(took)
    ]


def past(*took: float | None, stays: tuple[Stay, ...] = (), **known: Any) -> Past:
    """Return the past of a job that began at START and printed all the time."""
    printed = [START + 10.0 * number for number in range(2000)]
    return Past(points(*took), stays or (Stay(START, START + 10_000.0),), **{"logged": printed, **known})


def fired(rule: str, of: Past) -> list[tuple[str, int, float]]:
    """Return what was told of one rule: the news, the epoch, and how long after the start."""
    told = replay(make_rules([rule], builtin=False), of)
    return [(one.news.value, one.epoch, one.at - (of.began or 0.0)) for one in told]


def test_a_job_without_attempts_goes_by_its_epochs() -> None:
    """Their lengths are all that is known; nothing was silent."""
    told = Past([{**one, "val_loss": loss} for one, loss in zip(points(*[60.0] * 4), [1, 3, 3, 1], strict=True)])
    assert fired("val_loss > 2", told) == [("firing", 2, 120.0), ("resolved", 4, 240.0)]
    [(news, epoch, after_s)] = fired("total_time(3m)", told)
    assert (news, epoch) == ("firing", 3)
    assert after_s == pytest.approx(182.0)
    assert fired("hang(1s)", told) == []


def test_the_start_up_counts() -> None:
    """Ten minutes pass before the first epoch, which takes one."""
    of = past(60.0, 60.0, 60.0, last_told=START + 780.0)
    assert times_of(of) == [START + 660.0, START + 720.0, START + 780.0]
    [(_, epoch, after_s)] = fired("elapsed() > 11m30s", of)
    assert epoch == 1
    assert after_s == pytest.approx(690.0, abs=4.0)


def test_what_the_log_says_of_epochs_counts() -> None:
    """Rather than any sum, also where metrics.jsonl was copied and has lost its own time."""
    told_at = {1: START + 100.0, 2: START + 500.0}
    assert times_of(past(60.0, 60.0, told_at=told_at, last_told=START + 1e9)) == [START + 100.0, START + 500.0]


def test_attempts_have_their_own_start_ups() -> None:
    """Two attempts with a wait of an hour between them: the wait, and each start, lie where they were."""
    stays = (Stay(START, START + 400.0), Stay(START + 4000.0, START + 5000.0))
    of = past(None, 100.0, 100.0, None, 100.0, stays=stays, last_told=START + 4300.0)
    assert [at - START for at in times_of(of)] == [200.0, 300.0, 400.0, 4200.0, 4300.0]
    [(news, epoch, after_s)] = fired("total_time(1h)", of)
    assert (news, epoch, after_s) == ("firing", 3, 4000.0)


def test_an_epoch_that_ended_with_its_attempt_is_not_the_next_ones() -> None:
    """Sums of rounded lengths come out a little late."""
    stays = (Stay(START, START + 399.5), Stay(START + 4000.0, START + 5000.0))
    of = past(None, 100.0, 100.0, None, 100.0, stays=stays, last_told=START + 4300.0)
    assert [at - START for at in times_of(of)] == [200.0, 300.0, 399.5, 4200.0, 4300.0]


def test_a_silence_is_a_hang_when_it_was_one() -> None:
    """Nothing printed and no epoch for long, within an attempt."""
    stays, logged = (Stay(START, START + 7000.0),), [START + 130.0, START + 6000.0]
    of = past(60.0, 60.0, stays=stays, told_at={1: START + 60.0, 2: START + 120.0}, logged=logged)
    [(news, epoch, after_s), (_, _, again_s)] = fired("hang", of)
    assert (news, epoch) == ("firing", 2)
    assert after_s == pytest.approx(130.0 + 1800.0, abs=4.0)
    assert again_s == pytest.approx(6000.0, abs=4.0)


def test_what_a_full_log_has_dropped_is_no_silence() -> None:
    """Before the oldest line that is left nothing is known."""
    of = past(60.0, told_at={1: START + 60.0}, logged=[START + 9000.0], logged_from=START + 9000.0)
    assert fired("hang", of) == []


def test_a_job_that_is_held_does_not_hang() -> None:
    """The time in memory counts for no `for`, and nothing is looked at in it."""
    stay = Stay(START, START + 9100.0, holds=((START + 200.0, START + 9000.0),))
    told_at = {1: START + 60.0, 2: START + 120.0}
    of = Past(points(60.0, 60.0, train_loss=[3.0, 3.0]), (stay,), told_at, logged=[START + 190.0])
    assert fired("hang", of) == []
    assert fired("train_loss > 1 for 5m", of) == []


def test_a_job_begun_anew_is_judged_anew() -> None:
    """What fired goes on firing over a retry by itself, and fires again after one by a user."""
    losses = [{**one, "train_loss": 3.0} for one in points(10.0, 10.0)]
    for afresh, count in ((False, 1), (True, 2)):
        stays = (Stay(START, START + 20.0), Stay(START + 100.0, START + 120.0, afresh=afresh))
        of = Past(losses, stays, {1: START + 10.0, 2: START + 110.0})
        assert [news for news, _, _ in fired("loss > 2", of)] == ["firing"] * count


def test_a_for_in_time_fires_between_epochs() -> None:
    """As it does while the job runs, not first with the next epoch."""
    losses = [{**one, "train_loss": 3.0} for one in points(100.0, 1000.0)]
    of = Past(losses, (Stay(START, START + 1200.0),), {1: START + 100.0, 2: START + 1100.0})
    [(_, epoch, after_s)] = fired("loss > 2 for 2m", of)
    assert epoch == 1
    assert after_s == pytest.approx(220.0, abs=3.0)


def test_rules_about_the_machine_are_not_replayed() -> None:
    """What was measured is not kept for that."""
    rules = make_rules(["slow_epoch", "gpu_idle", "max(gpu_utilization, 3) < 5", "absent(gpu_memory)"])
    assert [rule.name for rule in rules if can_be_replayed(rule)] == ["nan", "hang", "slow_epoch"]


@given(
    st.lists(st.sampled_from([None, 0.0, 1.0, 50.0, 1e6, float("nan"), -1.0, True, "x"]), max_size=8),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=4),
    st.dictionaries(st.integers(1, 8), st.floats(0, 500)),
    st.none() | st.floats(0, 500),
)
def test_times_go_forward_and_lie_within_the_job(
    took: list[Any], spans: list[tuple[float, float]], told_at: dict[int, float], last: float | None
) -> None:
    """Whatever a file may hold; and every epoch is judged once."""
    at, stays = START, []
    for wait_s, ran_s in spans:
        stays.append(Stay(at + wait_s, at + wait_s + ran_s))
        at += wait_s + ran_s
    told = {number: START + after for number, after in told_at.items()}
    of = Past(points(*took), tuple(stays), told, None if last is None else START + last)
    if stays:
        times = times_of(of)
        assert times == sorted(times)
        assert all(stays[0].began <= one <= stays[-1].ended for one in times)
    seen = replay(make_rules([{"alert": "a", "expr": "epoch() >= 1", "repeat_interval": "1 epoch"}], builtin=False), of)
    assert [one.epoch for one in seen] == list(range(1, len(took) + 1))
