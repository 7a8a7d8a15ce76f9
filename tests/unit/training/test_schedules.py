"""The learning rate from epoch to epoch, and what counts as progress."""

from __future__ import annotations

import json
import math

import pytest

from parallel_ml.training.failures import TrainingError
from parallel_ml.training.progress import Watched
from parallel_ml.training.schedules import make_schedule
from parallel_ml.training.settings import ScheduleSettings


def rates(settings: ScheduleSettings | None, epochs: int) -> list[float]:
    """Return the rate of each epoch, from 0.1."""
    schedule = make_schedule(settings, 0.1, epochs)
    return [round(schedule.rate(epoch), 6) for epoch in range(epochs)]


def test_without_a_schedule_the_rate_stays() -> None:
    """Nothing asked, nothing changed."""
    assert rates(None, 3) == [0.1, 0.1, 0.1]


def test_step_cuts_to_a_tenth_every_thirty_epochs() -> None:
    """The defaults of `step`."""
    found = rates(ScheduleSettings("step"), 61)
    assert (found[29], found[30], found[59], found[60]) == (0.1, 0.01, 0.01, 0.001)


def test_step_takes_its_own_keys() -> None:
    """`step_size` and `gamma` are the user's."""
    assert rates(ScheduleSettings("step", step_size=2, gamma=0.5), 5) == [0.1, 0.1, 0.05, 0.05, 0.025]


def test_cosine_falls_from_the_rate_to_the_floor() -> None:
    """Half a cosine: half way at half the epochs, and near the floor at the end."""
    found = rates(ScheduleSettings("cosine", min_lr=0.02), 100)
    assert found[0] == 0.1
    assert found[50] == pytest.approx(0.06)
    assert found[99] == pytest.approx(0.02, abs=1e-4)
    assert found == sorted(found, reverse=True)


def test_cosine_warms_up_in_equal_steps() -> None:
    """The rate rises over `warmup_epochs`, the fall begins at the full rate."""
    assert rates(ScheduleSettings("cosine", warmup_epochs=4), 10)[:5] == [0.025, 0.05, 0.075, 0.1, 0.1]


def test_plateau_halves_after_its_patience() -> None:
    """Epochs without progress are counted from the best one, and anew after each cut; the floor holds."""
    schedule = make_schedule(ScheduleSettings("plateau", patience=2, min_lr=0.03), 0.1, 10)
    seen = []
    for loss in (1.0, 1.0, 1.0, 0.5, 0.6, 0.6, 0.6, 0.6):
        schedule.observe({"val_loss": loss})
        seen.append(schedule.rate(0))
    assert seen == [0.1, 0.1, 0.05, 0.05, 0.05, 0.03, 0.03, 0.03]


def test_plateau_goes_on_from_its_state() -> None:
    """What it knows survives as JSON: the cut comes when it would have come."""
    settings = ScheduleSettings("plateau", patience=2)
    first, second = make_schedule(settings, 0.1, 10), make_schedule(settings, 0.1, 10)
    for loss in (1.0, 1.0):
        first.observe({"val_loss": loss})
    second.restore(json.loads(json.dumps(first.state())))
    second.observe({"val_loss": 1.0})
    assert second.rate(0) == 0.05


def test_plateau_without_validation_data_watches_the_training() -> None:
    """`val_loss` means `loss` where there is no validation split."""
    schedule = make_schedule(ScheduleSettings("plateau", patience=1), 0.1, 10, has_validation=False)
    for loss in (1.0, 0.5, 0.5):
        schedule.observe({"loss": loss})
    assert schedule.rate(0) == 0.05


def test_an_unknown_schedule_is_named_with_those_there_are() -> None:
    """The error says what could have been meant."""
    with pytest.raises(TrainingError, match="no learning_rate_scheduler is called stepp; there are step, plateau"):
        make_schedule(ScheduleSettings("stepp"), 0.1, 10)


@pytest.mark.parametrize(
    ("monitor", "mode", "values", "best_epoch"),
    [
        ("val_loss", None, (0.5, 0.3, 0.4), 2),
        ("val_accuracy", None, (0.5, 0.8, 0.7), 2),
        ("val_accuracy", "min", (0.5, 0.8, 0.4), 3),
        ("val_loss", "max", (0.5, 0.3, 0.9), 3),
        ("val_loss", None, (math.nan, 0.9, math.nan), 2),
    ],
)
def test_the_best_epoch(monitor: str, mode: str | None, values: tuple[float, ...], best_epoch: int) -> None:
    """An accuracy should rise, a loss should fall, a mode that is given holds, and nan is never the best."""
    watched = Watched(monitor, mode)
    for value in values:
        watched.observe({monitor: value})
    assert watched.best_epoch == best_epoch


def test_a_change_within_min_delta_is_no_progress() -> None:
    """What got better by less than `min_delta` counts as waiting."""
    watched = Watched("val_loss", min_delta=0.1)
    better = [watched.observe({"val_loss": value}) for value in (1.0, 0.95, 0.91, 0.8)]
    assert better == [True, False, False, True]
    assert watched.waited == 0
