"""Alert rules in a plain Keras `fit`."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from parallel_ml.errors import AlertRuleError

pytestmark = pytest.mark.tf


def fit(*callbacks: Any, epochs: int = 4, rate: Any = 0.0, factor: float = 1.0, apart: float = 3.0) -> Any:
    """Train a model of one weight and return it.

    Its loss stays where it is at a `rate` of 0, falls at 0.1 and rises at 1.2; the validation loss, of a target so far
    `apart`, does the same, and where that is below 0 the opposite.
    """
    import keras  # noqa: PLC0415

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="mse", jit_compile=False)
    x = np.ones((8, 1), "float32") * factor
    validation = (x, x + apart)
    model.fit(x, x + 1, validation_data=validation, epochs=epochs, batch_size=4, verbose=0, callbacks=list(callbacks))
    return model


def make(*rules: Any, **keys: Any) -> Any:
    """Return a callback."""
    from parallel_ml.training.alert_callback import AlertCallback  # noqa: PLC0415

    return AlertCallback(rules, **keys)


def test_a_rule_is_told_once() -> None:
    """Keras says `loss`, and so may the rule; the function gets what a run's channels get."""
    told: list[Any] = []
    alerts = make("loss > 0.5 and val_loss > 8 for 2 epochs", notify=told.append)
    fit(alerts)
    assert [(one.news.value, one.epoch) for one in told] == [("firing", 2)]
    assert told[0].values == {"train_loss": pytest.approx(1.0), "val_loss": pytest.approx(9.0)}
    assert alerts.notifications == told


def test_stop_ends_the_training() -> None:
    """After the epoch in which the rule fired."""
    alerts = make("plateau(val_loss, 2) -> stop")
    model = fit(alerts, epochs=50)
    assert model.stop_training
    assert [one.epoch for one in alerts.notifications] == [3]


def test_nan_stops_within_the_epoch(caplog: pytest.LogCaptureFixture) -> None:
    """The first look at a batch sees it; 50 epochs of nothing are not trained."""
    alerts = make({"alert": "nan", "expr": "nan", "action": "stop"})
    fit(alerts, epochs=50, factor=float("nan"))
    assert [(one.rule, one.epoch) for one in alerts.notifications] == [("nan", 1)]
    assert "stopping in epoch 1: alert nan" in caplog.text


def test_the_rate_is_reduced_to_the_least() -> None:
    """Once by the factor, then no further than `min`."""
    rule = {"expr": "epoch() >= 1", "action": "reduce_lr", "factor": 0.1, "min": 0.002, "repeat_interval": "1 epoch"}
    model = fit(make(rule), rate=0.01)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.002)


def test_a_schedule_in_the_optimizer_is_left_alone_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """Keras does not let its rate be set."""
    import keras  # noqa: PLC0415

    fit(make("epoch() >= 1 -> reduce_lr"), rate=keras.optimizers.schedules.ExponentialDecay(0.01, 100, 0.9))
    assert "the learning rate follows a schedule in the optimizer" in caplog.text


def test_a_message_that_fails_ends_no_training(caplog: pytest.LogCaptureFixture) -> None:
    """It stands in the log instead."""

    def broken(_: Any) -> None:
        raise OSError

    with caplog.at_level(logging.WARNING):
        fit(make("loss > 0.5", notify=broken))
    assert "alert loss > 0.5, epoch 1, firing" in caplog.text


def test_a_misspelt_metric_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """After the first epoch, with the nearest."""
    fit(make("val_los > 1"), epochs=1)
    assert "did you mean val_loss?" in caplog.text


def test_a_second_training_is_judged_anew() -> None:
    """What the first one ended with fires nothing in the second before it has told an epoch."""
    alerts = make("loss > 0.5 -> stop")
    fit(alerts)
    fit(alerts)
    assert [one.epoch for one in alerts.notifications] == [1, 1]


def test_a_rule_that_makes_no_sense_is_refused() -> None:
    """When the callback is made, not in the middle of a training."""
    with pytest.raises(AlertRuleError, match="did you mean rising"):
        make("risng(loss)")


@pytest.mark.parametrize(
    ("settings", "fires", "silent"),
    [
        (
            {"rate": 1e-12},
            {
                "val_loss > 8": 1,
                "loss > 0.5 for 3 epochs": 3,
                "plateau(val_loss, 3)": 4,
                "underfitting(3)": 3,
                "slow_epoch(0.01)": 3,
                "total_time(1ms)": 1,
                "absent(val_f1)": 1,
            },
            ["rising(loss, 1)", "falling(loss, 1)", "overfitting", "slow_epoch(1e6)", "total_time", "hang", "nan"],
        ),
        ({"rate": 0.1}, {"falling(loss, 2)": 3}, ["rising(val_loss, 2)", "plateau(val_loss, 3)", "underfitting(3)"]),
        ({"rate": 1.2}, {"rising(val_loss, 2)": 3}, ["falling(loss, 2)", "overfitting", "loss > 1e30"]),
        ({"rate": 0.1, "apart": -1.0}, {"overfitting": 4}, ["rising(loss, 1)", "plateau(loss, 2)", "nan"]),
        ({"rate": 0.1, "factor": float("nan")}, {"nan": 1}, ["loss > 0", "not loss > 0", "overfitting"]),
    ],
)
def test_every_short_form_fires_at_its_epoch_and_acts(
    settings: dict[str, Any], fires: dict[str, int], silent: list[str]
) -> None:
    """Once, and halves the rate; what is not so stays silent, or a rule that always fires would do."""
    alerts = make(*(f"{rule} -> reduce_lr" for rule in (*fires, *silent)), builtin=False)
    model = fit(alerts, epochs=5, **settings)
    assert {one.rule: one.epoch for one in alerts.notifications if one.news.value == "firing"} == {
        rule.partition(" for ")[0]: epoch for rule, epoch in fires.items()
    }
    assert float(model.optimizer.learning_rate) == pytest.approx(settings["rate"] * 0.5 ** len(fires))


@pytest.mark.parametrize(
    ("rule", "settings", "epoch"),
    [
        ("rising(val_loss, 2)", {"rate": 1.2}, 3),
        ("total_time(1ms)", {}, 1),
        ("overfitting", {"rate": 0.1, "apart": -1.0}, 4),
    ],
)
def test_stop_ends_the_training_after_the_epoch_of_any_rule(rule: str, settings: dict[str, Any], epoch: int) -> None:
    """No further one is trained."""
    import keras  # noqa: PLC0415

    trained: list[int] = []
    counting = keras.callbacks.LambdaCallback(on_epoch_end=lambda number, _: trained.append(number + 1))
    fit(make(f"{rule} -> stop"), counting, epochs=50, **settings)
    assert trained == list(range(1, epoch + 1))
