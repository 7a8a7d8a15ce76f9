"""Alert rules in a plain Keras `fit`."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from parallel_ml.errors import AlertRuleError

pytestmark = pytest.mark.tf


def fit(*callbacks: Any, epochs: int = 4, rate: Any = 0.0, factor: float = 1.0) -> Any:
    """Train a model of one weight whose loss stays where it is, and return the model."""
    import keras  # noqa: PLC0415

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="mse")
    x = np.ones((8, 1), "float32") * factor
    model.fit(x, x + 1, validation_data=(x, x + 3), epochs=epochs, batch_size=4, verbose=0, callbacks=list(callbacks))
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
