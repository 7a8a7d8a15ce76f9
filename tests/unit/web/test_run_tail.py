"""Following a run from any place of it: what is told, in which order, and that nothing is lost or doubled."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from parallel_ml.errors import UsageError
from parallel_ml.runtime.client import RunClient
from parallel_ml.runtime.run_tail import BEGINNING, News, RunTail
from tests.unit.web.serving import Script

MakeScript = Callable[..., Script]


def brief(news: News) -> tuple[Any, ...]:
    """Return what a piece of news is about."""
    told = news.data
    return told["type"], told.get("job"), told.get("state", told.get("epoch"))


def everything(tail: RunTail) -> list[News]:
    """Return all news that there are."""
    found: list[News] = []
    while more := tail.poll():
        found += more
    return found


def played(script: Script) -> None:
    """Have two jobs run: the first to its end, the second not yet."""
    script.begin("one")
    script.epoch("one", 1, 2)
    script.begin("two")
    script.epoch("two", 1)
    script.finish("one")
    script.epoch("two", 2)


def test_each_end_stands_behind_the_epochs_before_it(script: MakeScript) -> None:
    """From the beginning: states in the order of the log, and no epoch of a job behind its end."""
    run = script()
    played(run)
    told = [brief(news) for news in everything(RunClient(run.layout.dir).follow(BEGINNING))]
    assert told == [
        ("supervisor", None, None),
        ("job_state", "one", "starting"),
        ("job_state", "one", "running"),
        ("job_state", "two", "starting"),
        ("job_state", "two", "running"),
        ("epoch_progress", "one", 1),
        ("epoch_progress", "one", 2),
        ("attempt_ended", "one", None),
        ("job_state", "one", "completed"),
        ("epoch_progress", "two", 1),
        ("epoch_progress", "two", 2),
    ]


def test_from_every_place_exactly_the_rest_follows(script: MakeScript) -> None:
    """Whoever comes back with the place of any news is told what came after it, once."""
    run = script()
    played(run)
    client = RunClient(run.layout.dir)
    told = everything(client.follow(BEGINNING))
    for number, news in enumerate(told, 1):
        rest = everything(client.follow(news.place))
        assert sorted(map(brief, rest), key=str) == sorted(map(brief, told[number:]), key=str), news


def test_from_now_on_only_what_comes_is_told(script: MakeScript) -> None:
    """Without a place the past is passed over, the epochs of jobs that run included."""
    run = script()
    played(run)
    tail = RunClient(run.layout.dir).follow()
    assert everything(tail) == []
    run.epoch("two", 3)
    run.finish("two")
    expected = [("epoch_progress", "two", 3), ("attempt_ended", "two", None), ("job_state", "two", "completed")]
    assert [brief(news) for news in everything(tail)] == expected


def test_epochs_that_are_run_again_are_told_again(script: MakeScript) -> None:
    """A job that is resumed from its checkpoint replaces the end of its metrics; only that is news."""
    run = script("one")
    run.begin("one")
    run.epoch("one", 1, 2, 3)
    tail = RunClient(run.layout.dir).follow(BEGINNING)
    everything(tail)
    metrics = run.layout.job("one").metrics
    kept = metrics.read_bytes().splitlines(keepends=True)[:2]
    other = metrics.with_suffix(".new")
    other.write_bytes(b"".join(kept))
    other.replace(metrics)
    run.epoch("one", 3, val_loss=0.01)
    told = everything(tail)
    assert [brief(news) for news in told] == [("epoch_progress", "one", 3)]
    assert told[0].data["metrics"]["val_loss"] == 0.01


def test_catching_up_stops_where_the_other_is(script: MakeScript) -> None:
    """What the shared follower has not told yet is left to it."""
    run = script()
    run.begin("one")
    run.epoch("one", 1)
    client = RunClient(run.layout.dir)
    shared = client.follow()
    run.epoch("one", 2)
    run.finish("one")
    late = shared.fork(BEGINNING)
    caught = late.poll(until=shared)
    assert [brief(news) for news in caught][-1] == ("epoch_progress", "one", 1)
    assert brief(shared.poll()[0]) == ("epoch_progress", "one", 2)


@pytest.mark.parametrize("place", ["", "0", "x.y", "99999999.0", "3.0", "0.0-7.1", "0.0-0", "-1.0", "0.0-0.1" * 2000])
def test_a_place_of_another_run_is_refused(script: MakeScript, place: str) -> None:
    """A place must be a record's beginning, and its jobs must be there."""
    client = RunClient(script().layout.dir)
    with pytest.raises(UsageError, match="is no place in"):
        client.follow(place)


def test_a_torn_line_waits_for_its_end(script: MakeScript) -> None:
    """Half an epoch is none yet."""
    run = script("one")
    run.begin("one")
    tail = RunClient(run.layout.dir).follow()
    line = json.dumps({"epoch": 1, "epochs": 2}) + "\n"
    with run.layout.job("one").metrics.open("a", encoding="utf-8") as stream:
        stream.write(line[:9])
        stream.flush()
        assert tail.poll() == []
        stream.write(line[9:])
    assert [brief(news) for news in tail.poll()] == [("epoch_progress", "one", 1)]
