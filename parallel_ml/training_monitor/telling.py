"""What is told of a training that is over: where to, the report, the message."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallel_ml.errors import ParallelMLError
from parallel_ml.notify.channel import Notifier
from parallel_ml.notify.left import OUTBOX, Left
from parallel_ml.notify.settings import NotificationSettings
from parallel_ml.training_monitor.log import MonitorLog
from parallel_ml.training_monitor.messages import end_message
from parallel_ml.training_monitor.report import ReportGenerator
from parallel_ml.training_monitor.sending import Courier, found_settings, read_settings

if TYPE_CHECKING:
    from parallel_ml.training_monitor.session import Session


@dataclass(frozen=True)
class Opened:
    """Where one watching's report, log lines and messages go."""

    report_dir: Path
    notes: MonitorLog
    courier: Courier


@dataclass(frozen=True)
class Places:
    """Where a monitor's reports, log lines and messages go.

    Attributes:
        settings: Those of a file that was named; None looks for `./notifier_config.yaml` at each start.
        config: That file.
    """

    settings: NotificationSettings | None
    report_dir: Path
    log_file: Path
    notifiers: tuple[Notifier, ...]
    config: Path | None = None

    @classmethod
    def checked(
        cls, config: Path | str | None, report_dir: Path, log_file: Path, notifiers: tuple[Notifier, ...]
    ) -> Places:
        """Read a file that was named.

        Raises:
            ConfigError: It is not there or wrong: better now than after hours.
        """
        if config is None:
            return cls(None, report_dir, log_file, notifiers)
        return cls(read_settings(config), report_dir, log_file, notifiers, Path(config))

    def opened(self, model_name: str) -> Opened:
        """Return the places of one watching; a training that changes its folder later does not move them."""
        report_dir, log_file, cwd, config = self.report_dir, self.log_file, Path(), self.config
        with contextlib.suppress(OSError):  # the folder we are in was removed
            report_dir, log_file, cwd = report_dir.absolute(), log_file.absolute(), Path.cwd()
            config = config and config.absolute()
        notes = MonitorLog(log_file, model_name)
        settings = self.settings if self.settings is not None else _found_settings(notes)
        left = Left(report_dir / OUTBOX, cwd, None if config is None else str(config))
        return Opened(report_dir, notes, Courier(left, notes, settings, self.notifiers))


def tell(metrics: dict[str, Any], session: Session, generator: Any) -> None:
    """Write the report and send the message. What either raises is logged."""
    notes, courier = session.notes, session.places.courier
    notes.info(f"{metrics['status']}: {metrics['error']}" if metrics["error"] else metrics["status"])
    metrics["report"] = [str(path) for path in _reported(metrics, session, generator)]
    for path in metrics["report"]:
        notes.info(f"report: {path}")
    if courier.is_idle:
        return
    try:
        spoken = [replace(courier.settings, language=language) for language in courier.languages]
        now = time.time()
        courier.send(session.key, *(end_message(metrics, one, key=session.key, created=now) for one in spoken))
    except Exception as error:  # noqa: BLE001 - a message must not hurt the training
        notes.problem("the message could not be sent", error)


def _found_settings(notes: MonitorLog) -> NotificationSettings | None:
    try:
        settings = found_settings()
    except ParallelMLError as error:
        notes.problem(f"no messages: {error}")
        return None
    except Exception as error:  # noqa: BLE001 - protects the training
        notes.problem("no messages: the settings cannot be read", error)
        return None
    for warning in settings.warnings if settings else ():
        notes.problem(warning)
    return settings


def _reported(metrics: Mapping[str, Any], session: Session, generator: Any) -> list[Path]:
    built_in = generator if type(generator) is ReportGenerator else None
    ours = built_in or ReportGenerator(session.places.report_dir, session.places.courier.language)
    if built_in is None:
        try:
            return _written(generator, metrics, ours)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's own code must not hurt the training
            session.notes.problem("the report generator failed; the built-in report is written", error)
    try:
        return ours.generate(metrics)
    except OSError as error:
        session.notes.problem(f"no report: {error.strerror}: {ours.directory}")
    except Exception as error:  # noqa: BLE001 - a report must not hurt the training
        session.notes.problem("no report", error)
    return []


def _written(generator: Any, metrics: Mapping[str, Any], ours: ReportGenerator) -> list[Path]:
    """Call a user's generator; a text that it returns is saved as Markdown."""
    make = getattr(generator, "generate", generator)
    found = make(dict(metrics))
    if found is None:
        return []
    if isinstance(found, str):
        return [ours.save(metrics, found)]
    return [found] if isinstance(found, Path) else [Path(path) for path in found]
