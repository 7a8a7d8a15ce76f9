"""Alert rules for any Keras `fit`, outside of a run as well.

The rules, their language and their states are those of a run (`parallel_ml.core.alerts`, which is pure Python); here
they see the epochs of one `fit`, and a loss that is no number within an epoch.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any

import keras

from parallel_ml.core.alert_history import metrics_of
from parallel_ml.core.alert_rules import AlertAction, AlertRule, make_rules
from parallel_ml.core.alert_tree import Call, walk
from parallel_ml.core.alerts import AlertInputs, AlertState, News, step

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from parallel_ml.core.alerts import AlertNotification, AlertOrder

LOOK_EVERY_S = 1.0
"""The loss within an epoch is looked at so often: reading it waits for a GPU."""
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}
_ABOUT_NAN = frozenset({"nonfinite", "isnan", "isinf"})
_log = logging.getLogger("parallel_ml")


class AlertCallback(keras.callbacks.Callback):
    """Watches a training by alert rules.

    An example::

        model.fit(x, y, epochs=50, callbacks=[AlertCallback(["val_loss > 2 for 3 epochs -> stop", "overfitting"])])

    Rules are judged at the end of each epoch; those about nan within epochs too. What they do: `stop` ends the training
    after the batch, or epoch, under way; `pause` does the same, since a plain `fit` cannot go on later; `reduce_lr`
    multiplies the optimizer's learning rate. Where the optimizer has a schedule (`LearningRateSchedule`) the rate is
    not settable, and a warning says so; a `LearningRateScheduler` that sets the rate anew each epoch overwrites it.
    Rules about the machine (GPU, disk, hang) are watched by a run alone and stay silent here.

    Attributes:
        notifications: What was told, oldest first.
        state: Where each rule is.
    """

    def __init__(
        self,
        rules: str | Mapping[str, Any] | AlertRule | Sequence[str | Mapping[str, Any] | AlertRule] = (),
        *,
        builtin: bool | Collection[str] = True,
        notify: Callable[[AlertNotification], object] | None = None,
    ) -> None:
        """Watch by `rules`.

        Args:
            rules: One or several, as they stand in `alerts:` of a configuration.
            builtin: Whether the built-in rules are watched beside them, or which.
            notify: Called with each notification; without it, and where it fails, the log has them.

        Raises:
            AlertRuleError: A rule makes no sense.
        """
        super().__init__()
        several = [rules] if isinstance(rules, (str, AlertRule)) or hasattr(rules, "keys") else list(rules)
        self.rules = make_rules(several, builtin=builtin)  # type: ignore[arg-type]
        self._about_nan = tuple(rule for rule in self.rules if _is_about_nan(rule))
        self._notify = notify
        self.state = AlertState()
        self.notifications: list[AlertNotification] = []
        self._began: float | None = None
        self._epoch = 0
        self._epoch_began = self._look_at = 0.0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras's signature
        """Begin anew; what was told before is kept."""
        self.state = self.state.again()
        self._began = time.time()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Note when it began."""
        self._epoch = epoch + 1
        self._epoch_began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Look now and then whether the loss is still a number."""
        now = time.monotonic()
        if not self._about_nan or now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            self._step(self._about_nan, {"epoch": self._epoch, "train_loss": float(loss)})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Judge every rule by what the epoch ended with."""
        figures = {name: float(value) for name, value in (logs or {}).items()}
        took = round(time.monotonic() - self._epoch_began, 3)
        epochs = (self.params or {}).get("epochs")
        self._step(self.rules, {"epoch": epoch + 1, "epochs": epochs, "time_per_epoch": took, **figures})

    def _step(self, rules: Sequence[AlertRule], point: Mapping[str, Any]) -> None:
        now = time.time()
        inputs = AlertInputs(points=(point,), began=self._began, running_since=self._began, last_log=now, whole=True)
        self.state, told, orders = step(self.state, rules, inputs, now)
        for one in told:
            self.notifications.append(one)
            self._tell(one)
        for order in orders:
            self._obey(order)

    def _tell(self, one: AlertNotification) -> None:
        if self._notify is not None:
            try:
                self._notify(one)
            except Exception:  # noqa: BLE001 - a message must not end a training
                _log.exception("the alert %s could not be told", one.rule)
            else:
                return
        level = _LEVELS[one.severity] if one.news in (News.FIRING, News.STILL_FIRING) else logging.INFO
        level = logging.WARNING if one.news is News.UNKNOWN_METRIC else level
        _log.log(level, "alert %s, epoch %d, %s: %s", one.rule, one.epoch, one.news.value, one.summary)

    def _obey(self, order: AlertOrder) -> None:
        if order.action is AlertAction.REDUCE_LR:
            self._reduce_rate(order)
            return
        self.model.stop_training = True
        what = "" if order.action is AlertAction.STOP else "; a plain fit cannot be paused, so it is stopped"
        _log.warning("stopping in epoch %d: %s%s", order.epoch, order.reason, what)

    def _reduce_rate(self, order: AlertOrder) -> None:
        optimizer = self.model.optimizer
        before = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        after = min(before, max(before * order.factor, order.minimum))
        try:
            optimizer.learning_rate = after
        except TypeError:
            _log.warning(
                "the learning rate follows a schedule in the optimizer and stays %g (%s)", before, order.reason
            )
            return
        _log.warning("learning rate %g -> %g: %s", before, after, order.reason)


def _is_about_nan(rule: AlertRule) -> bool:
    """Whether a rule can be judged by the training loss alone, and asks whether it is a number."""
    calls = [part for part in walk(rule.tree) if isinstance(part, Call)]
    return (
        bool(calls) and all(call.function in _ABOUT_NAN for call in calls) and metrics_of(rule.tree) <= {"train_loss"}
    )
