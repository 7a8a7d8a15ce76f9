# ruff: noqa: RUF001 - Chinese punctuation is meant
"""Many messages as one."""

from __future__ import annotations

import time
from dataclasses import replace

from parallel_ml.notify.digest import MOST_ROWS, digest
from parallel_ml.notify.message import Excerpt, Facts, Kind, Level, Text
from tests.unit.notify.dispatching import BEGIN, failed, note


def test_the_worst_come_first() -> None:
    """In the title, in the table, and as the level; the lines of the worst are kept."""
    broken = replace(failed(2), blocks=(Text("x"), Excerpt("log", ("boom",))), data={"summary": "ValueError: no"})
    made = digest([note(1), broken, note(3)], "en", 5.0)
    table, excerpt = made.blocks
    assert isinstance(table, Facts)
    assert made.title == "3 messages: 1 failed, 2 finished"
    assert [row[0] for row in table.rows] == ["job2", "job1", "job3"]
    assert table.rows[0][1] == "failed: ValueError: no"
    assert (made.level, made.run, excerpt) == (Level.CRITICAL, "run", Excerpt("job2: log", ("boom",)))


def test_of_what_is_critical_the_failure_is_shown() -> None:
    """An alert that came before it has no lines; its place and what to try stay, over a digest of digests too."""
    alert = note(1, Kind.ALERT, Level.CRITICAL)
    data = {"summary": "ValueError: no", "place": "train.py:3 in f", "advice": "look"}
    broken = replace(failed(2), blocks=(Excerpt("log", ("boom",)),), data=data)
    noisy = replace(note(3, Kind.ALERT, Level.CRITICAL), blocks=(Excerpt("log", ("noise",)),))
    details = Facts((("job2: place", "train.py:3 in f"), ("job2: what to try", "look")))
    once = digest([alert, noisy, broken, note(4)], "en", 5.0)
    assert once.blocks[1:] == (details, Excerpt("job2: log", ("boom",)))
    twice = digest([note(5, Kind.ALERT, Level.CRITICAL), once], "en", 6.0)
    assert twice.blocks[-1] == Excerpt("job2: log", ("boom",))
    assert ("place", "train.py:3 in f") in twice.blocks[1].rows  # type: ignore[union-attr]


def test_a_digest_says_when_what_is_long_past_happened() -> None:
    """As after quiet hours; what is of the moment has no time."""
    made = digest([replace(note(1), created=BEGIN.wall - 3600), replace(note(2), created=BEGIN.wall)], "en", BEGIN.wall)
    table = made.blocks[0]
    assert isinstance(table, Facts)
    clock = time.strftime("%H:%M", time.localtime(BEGIN.wall - 3600))
    assert clock in table.rows[0][1]
    assert table.rows[1][1] == "finished"


def test_a_digest_of_digests_counts_all() -> None:
    """And has the rows of each."""
    first, second = digest([failed(1), failed(2)], "en", 0.0), digest([note(3), note(4)], "en", 0.0)
    made = digest([first, note(5), second], "en", 0.0)
    assert made.data["counts"] == {"failed": 2, "finished": 3}
    table = made.blocks[0]
    assert isinstance(table, Facts)
    assert [row[0] for row in table.rows] == ["job1", "job2", "job5", "job3", "job4"]


def test_what_has_no_row_is_counted() -> None:
    """A digest of very many stays short."""
    made = digest([note(number) for number in range(MOST_ROWS + 5)], "en", 0.0)
    assert made.blocks[1] == Text("+5 more")


def test_of_a_jobs_new_bests_the_newest_has_a_row() -> None:
    """The others are counted."""
    bests = [note(number, Kind.NEW_BEST, job="a") for number in range(3)]
    made = digest([replace(best, data={"summary": str(at)}) for at, best in enumerate(bests)], "en", 0.0)
    table = made.blocks[0]
    assert isinstance(table, Facts)
    assert (table.rows, made.data["counts"]) == ((("a", "new best: 2"),), {"new_best": 3})


def test_a_digest_speaks_its_channels_language() -> None:
    """Kinds and counts too."""
    assert digest([failed(1), note(2)], "zh", 0.0).title == "2 条消息汇总：1 个训练失败，1 个训练完成"
    assert digest([failed(1), failed(2)], "zh", 0.0).title == "2 个任务：训练失败"


def test_the_same_messages_are_the_same_digest() -> None:
    """Its id follows from theirs."""
    assert digest([note(1), note(2)], "en", 0.0).id == digest([note(1), note(2)], "en", 9.0).id
    assert digest([note(1)], "en", 0.0).id != digest([note(2)], "en", 0.0).id
