"""The language of alert rules: what it reads, what it is worth, and what it refuses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ml.core.alert_expressions import LONGEST_TEXT, parse
from parallel_ml.core.alert_history import MOST_NAMES, History, needs_of, take_point, take_reading
from parallel_ml.core.alert_values import Times, holds
from parallel_ml.errors import AlertRuleError

NAN = float("nan")
WORDS = (
    *("loss", "val_loss", "x", "rising", "falling", "plateau", "avg", "isnan", "absent", "epoch", "overfitting"),
    *(
        "metric",
        "min",
        "max",
        "mode",
        "k",
        "and",
        "or",
        "not",
        "if",
        "lambda",
        "in",
        "is",
        "None",
        "True",
        "__import__",
    ),
    *("(", ")", "[", "]", "{", "}", ",", ".", "+", "-", "*", "/", "**", "%", "<", "<=", ">", "==", "!=", "=", ":="),
    *("1", "2.5", "1e9", "1e999", "10m", "8GiB", "9" * 60, "0x1", "1_0", "'a'", '"', "'", "\\", "#", ";", "\n", "\0"),
    *("损失", "\u202e", "\ud800", "é", "٣", "f'{x}'", "->", "for 3 epochs", "..."),
)


def series(name: str, values: Sequence[float | None], text: str, **point: Any) -> bool | None:
    """Return what a condition is worth after some epochs with the values of one metric."""
    return after([{"epoch": place, name: value, **point} for place, value in enumerate(values, 1)], text)


def after(points: Sequence[dict[str, Any]], text: str, times: Times | None = None) -> bool | None:
    """Return what a condition is worth after some lines of metrics.jsonl."""
    tree = parse(text)
    history = History()
    for point in points:
        history = take_point(history, point, needs_of([tree]))
    return holds(tree, history, times or Times(now=0.0))


def refusal(text: str) -> AlertRuleError:
    """Return why a text is refused."""
    with pytest.raises(AlertRuleError) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x > 2", True),
        ("x > 3", False),
        ("1 < x <= 3", True),
        ("x > 5 or x == 3", True),
        ("not x > 5 and x != 2", True),
        ("x * 2 - 1 > 4.5", True),
        ("-x < +1", True),
        ("x / 0 > 1", None),
        ("other > 1", None),
        ("other > 1 or x > 2", True),
        ("other > 1 and x > 5", False),
        ("not other > 1", None),
        ("x > 1e-3", True),
        ("x\n  > 2", True),
    ],
)
def test_conditions_are_worked_out(text: str, expected: bool | None) -> None:  # noqa: FBT001 - a parameter
    """Comparisons, chains, logic and arithmetic mean what they mean elsewhere; what is not known stays so."""
    assert series("x", [3.0], text) is expected


@pytest.mark.parametrize("text", ["loss > 0.5", "loss <= 0.5", "not loss > 0.5", "not loss <= 0.5", "loss != 0.5"])
def test_nan_satisfies_no_comparison(text: str) -> None:
    """Neither a comparison nor its opposite is true of a loss that is nan."""
    point = {"epoch": 1, "train_loss": None, "nonfinite": {"train_loss": "nan"}}
    assert after([point], text) is None


@pytest.mark.parametrize(
    ("told", "true"),
    [("nan", ["isnan(loss)", "nonfinite(loss)"]), ("inf", ["isinf(loss)", "nonfinite(loss)", "loss > 9"])],
)
def test_what_is_not_finite_is_found(told: str, true: list[str]) -> None:
    """The functions for it say so, from the line as metrics.jsonl has it."""
    point = {"epoch": 1, "train_loss": None, "nonfinite": {"train_loss": told}}
    every = ["isnan(loss)", "isinf(loss)", "nonfinite(loss)", "loss > 9"]
    assert [text for text in every if after([point], text)] == true
    assert after([point], "nonfinite()") is True


@pytest.mark.parametrize(
    ("values", "text", "expected"),
    [
        ([1, 2, 3, 4], "rising(x)", True),
        ([1, 2, 3, 3], "rising(x)", False),
        ([1, 2], "rising(x, 2)", None),
        ([9, 1, 2, 3], "rising(x, 2)", True),
        ([3, 2, 1], "falling(x, k=2)", True),
        ([1, NAN, 3], "rising(x, 2)", None),
        ([1, 2, 3], "avg(x, 3) == 2", True),
        ([1, 2, 3], "avg(x, 4) == 2", None),
        ([5, 1, 9], "min(x, 2) == 1 and max(x, 2) == 9", True),
        ([1, 2, 9], "median(x) == 2", True),
        ([1, 2], "median(x) == 1.5", None),
        ([1, 3, 5], "slope(x, 3) == 2", True),
        ([4, 2, 8], "first(x) == 4 and best(x) == 2 and since_best(x) == 1", True),
        ([4, 2, 8], "best(x, max) == 8", True),
        ([NAN, 2], "first(x) == 2", True),
        ([1, None, 2], "rising(x, 1)", True),
    ],
)
def test_functions_look_back(values: list[float | None], text: str, expected: bool | None) -> None:  # noqa: FBT001
    """Each looks at as many known values as it says, and knows nothing before there are so many."""
    assert series("x", values, text) is expected


def test_a_plateau_is_ten_epochs_without_improvement() -> None:
    """The tenth epoch after the best one makes it; a value that is better by no more than min_delta does not count."""
    assert series("val_loss", [1.0] * 10, "plateau(val_loss)") is False
    assert series("val_loss", [1.0] * 11, "plateau(val_loss)") is True
    assert series("val_loss", [1.0, *[0.99] * 10], "plateau(val_loss)") is False
    assert series("val_loss", [1.0, *[0.99] * 10], "plateau(val_loss, min_delta=0.1)") is True


def test_the_mode_follows_from_the_name_or_is_told() -> None:
    """An accuracy should rise, anything else fall, unless the rule says otherwise."""
    rising = [float(value) for value in range(4)]
    assert series("val_accuracy", rising, "plateau(val_acc, 2)") is False
    assert series("val_loss", rising, "plateau(val_loss, 2)") is True
    assert series("val_loss", rising, "plateau(val_loss, 2, mode=max)") is False
    assert series("val_accuracy", rising, "plateau(val_accuracy, 2, 0, 'min')") is True


def test_overfitting_is_seen_and_learning_is_not() -> None:
    """The validation loss turns up while the training loss goes on falling."""
    validation = [1.0, 0.8, 0.7, 0.75, 0.8, 0.9]
    points = [{"epoch": i + 1, "train_loss": 1 / (i + 1), "val_loss": value} for i, value in enumerate(validation)]
    assert [after(points[:count], "overfitting") for count in (3, 5, 6)] == [False, False, True]
    both = [{**point, "train_loss": point["val_loss"]} for point in points]
    assert after(both, "overfitting") is False


def test_underfitting_is_a_loss_that_hardly_falls() -> None:
    """After ten epochs the best training loss is still near the first one."""
    assert series("train_loss", [2.3] * 10, "underfitting") is True
    assert series("train_loss", [2.3] * 9, "underfitting") is False
    assert series("train_loss", [2.3 / epoch for epoch in range(1, 11)], "underfitting") is False


def test_a_slow_epoch_is_measured_by_the_usual_one() -> None:
    """It took more than twice the median, or as many times as the rule says."""
    assert series("time_per_epoch", [10, 10, 11, 25], "slow_epoch") is True
    assert series("time_per_epoch", [10, 10, 11, 25], "slow_epoch(3)") is False


@pytest.mark.parametrize(
    ("since_epoch", "since_log", "expected"), [(4000, 4000, True), (4000, 60, False), (2000, 2000, False)]
)
def test_a_hang_is_silence_for_long(since_epoch: float, since_log: float, expected: bool) -> None:  # noqa: FBT001
    """No epoch for five times the usual time and half an hour, and no output for half an hour."""
    times = Times(1e6, running_since=0.0, last_epoch=1e6 - since_epoch, last_log=1e6 - since_log)
    points = [{"epoch": epoch, "time_per_epoch": 600.0} for epoch in (1, 2, 3)]
    assert after(points, "hang", times) is expected


def test_a_pause_is_no_silence() -> None:
    """What happened before the job went on does not count as waiting."""
    times = Times(1e6, began=0.0, running_since=1e6 - 60, last_epoch=1e5, last_log=1e5)
    assert after([], "since_epoch() <= 60 and since_log() <= 1m and elapsed() > 11d", times) is True


def test_readings_of_the_machine_have_names() -> None:
    """Samples are known in MB and in bytes; units stand behind numbers."""
    tree = parse("gpu_memory > 1GiB and gpu_memory_mb > 1024 and disk_free < 2GiB and gpu_memory > gpu_memory_granted")
    history = History()
    for reading in ({"gpu_memory_mb": 1500.0}, {"disk_free": 2.0**30, "gpu_memory_granted": 2.0**30}):
        history = take_reading(history, reading, needs_of([tree]))
    assert holds(tree, history, Times(0.0)) is True


def test_absent_is_about_the_newest_epoch() -> None:
    """Before the first epoch nothing is absent."""
    assert after([], "absent(val_loss)") is None
    assert series("x", [1.0], "absent(val_loss)") is True
    assert series("val_loss", [1.0, None], "absent(val_loss)") is True
    assert series("val_loss", [None, 1.0], "absent(val_loss)") is False


def test_an_epoch_told_again_replaces_what_came_after() -> None:
    """A training that went back to epoch 2 is judged by what it tells now."""
    points = [{"epoch": epoch, "x": value} for epoch, value in ((1, 1.0), (2, 5.0), (3, 9.0), (2, 2.0))]
    assert after(points, "x == 2 and epoch() == 2 and rising(x, 1)") is True
    assert after(points, "rising(x, 2)") is None
    assert after(points, "since_best(x) == 1") is True


def test_no_more_is_remembered_than_is_needed() -> None:
    """A thousand epochs of fifty metrics leave the window of the one metric that a rule looks at."""
    needs = needs_of([parse("avg(x, 7) > 1")])
    history = History()
    for epoch in range(1, 1001):
        history = take_point(history, {"epoch": epoch, **{f"m{i}": 1.0 for i in range(50)}, "x": 1.0}, needs)
    assert list(history.series) == ["x"]
    assert len(history.series["x"].values) < 20


def test_names_are_remembered_up_to_a_number() -> None:
    """A program that reports under ever new names does not fill the state."""
    history = History()
    for epoch in range(1, 11):
        history = take_point(history, {"epoch": epoch, **{f"m{epoch}_{i}": 1.0 for i in range(50)}}, needs_of([]))
    assert len(history.seen) == MOST_NAMES


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("risng(loss)", 1, "did you mean rising?"),
        ("loss > 1 and overfiting()", 14, "did you mean overfitting?"),
        ("x.__class__ > 1", 2, "a dot after a name"),
        ("loss .x > 1", 6, "a dot after a name"),
        ("x[0] > 1", 2, "square brackets"),
        ("__import__('os') > 1", 1, "calls __import__"),
        ("(lambda: 1)() > 1", 2, "a function of its own"),
        ("9 ** 9 ** 9 > 1", 1, "operator that is not known"),
        ("x % 2 == 0", 1, "operator that is not known"),
        ("x > 1e400", 5, "out of all reason"),
        ("x > 12abc", 5, "no number"),
        ("x = 3", 3, "write == to compare"),
        ("x > 1 && y > 1", 8, "write and"),
        ("loss", 1, "is a number and not a condition"),
        ("not loss", 5, "a number where a condition must stand"),
        ("(x > 1) + 1 > 0", 2, "a condition where a number must stand"),
        ("rising", 1, "write rising(metric, k=3)"),
        ("rising(3)", 1, "must name a metric"),
        ("rising(x, 0)", 11, "from 1 to 1000"),
        ("rising(x, 1.5)", 11, "whole number"),
        ("plateau(x, mode=up)", 17, "min or max"),
        ("avg(x, 2, 3) > 1", 1, "more than it takes"),
        ("avg(x, n=3) > 1", 1, "does not take"),
        ("rising(x, -3)", 11, "from 1 to 1000"),
        ("overfiting", 1, "did you mean overfitting?"),
        ("x > 1 or plateua", 10, "did you mean plateau?"),
        ("overfitting(-3)", 13, "above 0"),
        ("x > 1 or overfitting(2.5)", 10, "it must have a whole number"),
        ("hang(60, silence=60)", 1, "what it does not take"),
        ("hang(60, **x)", 1, "what it does not take"),
        ("1 < 2", 1, "compares plain numbers"),
        ("x > 1 or not 2 > -1", 14, "compares plain numbers"),
        ("x > 'a'", 5, "'a' where a number"),
        ("x in (1, 2)", 1, "compares with a word"),
        ("损失 > 1 and y.z > 1", 13, "a dot after a name"),
        ("gpu_memory_mb > 8GiB", 1, "write gpu_memory"),
        ("x > 1 # comment", 7, "'#'"),
        ("  x > ", 6, "cannot be understood"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, column: int, words: str) -> None:
    """Each refusal says the column, and what was probably meant."""
    error = refusal(text)
    assert error.column == column
    assert words in f"{error.message}; {error.hint}"


@pytest.mark.parametrize(
    "text", ["", "   ", "(" * 400, "x > 1" + " and x > 1" * 60, "-" * 400 + "x > 1", "not " * 100 + "x > 1", "1+" * 100]
)
def test_long_and_deep_texts_are_refused(text: str) -> None:
    """Neither the parser nor the evaluation is ever brought to its limits."""
    assert refusal(text).key == "expr"


@settings(max_examples=1000, deadline=1000)
@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join) | st.text(max_size=LONGEST_TEXT + 10))
def test_no_text_brings_anything_but_the_one_error(text: str) -> None:
    """A text is a condition that can be worked out, or is refused in one line, in no time."""
    began = time.perf_counter()
    assert tried(text) in (True, False, None) or "\n" not in str(tried(text))
    assert time.perf_counter() - began < 1.0


def tried(text: str) -> bool | AlertRuleError | None:
    """Return what a text is worth after an epoch, or why it is refused."""
    try:
        tree = parse(text)
    except AlertRuleError as error:
        return error
    history = take_point(History(), {"epoch": 1, "train_loss": 1.0, "x": 2.0}, needs_of([tree]))
    return holds(tree, history, Times(1.0))


def test_the_numbers_of_a_condition_with_a_name_may_be_named() -> None:
    """As its signature shows them."""
    assert parse("hang(times=7)") == parse("hang(30m, 7)")


def test_a_time_may_have_several_parts() -> None:
    """As everywhere in a configuration."""
    assert parse("elapsed() > 1h30m") == parse("elapsed() > 5400")
