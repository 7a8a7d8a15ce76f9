"""The messages of a run: from what its monitor tells to the channels that the user has set up."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallel_ml.config.notification_files import may_say_something
from parallel_ml.core.status import JobResult, JobStatus, RunStatus
from parallel_ml.errors import ConfigError, MissingPackage, StoreError, UsageError
from parallel_ml.monitor.history import job_result
from parallel_ml.monitor.process_monitor import EventKind, ProcessMonitor
from parallel_ml.notify.settings import NotificationSettings
from parallel_ml.store.files import is_locked, write_json
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_view import RunView

if TYPE_CHECKING:
    from parallel_ml.notify.channel import Channel
    from parallel_ml.notify.dispatcher import Dispatcher
    from parallel_ml.notify.left import Left
    from parallel_ml.notify.route import Route, Undelivered

# What composes and sends is imported where it is used: most runs send nothing, and it takes a fifth of a second.

FLUSH_S = 75.0
"""What all outboxes of a flush have together: a provider's limit of a minute has passed by then."""
LEAST_FLUSH_S = 5.0
"""What each has in any case: one try. Behind a dead network many outboxes must not take as many minutes."""
CUT_SHORT = "Ctrl-C cut the sending short; parallel-ml notify flush sends it"
MOST_OLDER = 200
"""Runs, the newest first, whose outboxes are looked into when one starts."""


def settings_of(sources: Mapping[str, Any], cwd: Path, environ: Mapping[str, str]) -> NotificationSettings:
    """Return what the sources that `run.json` names ask for.

    Args:
        sources: `file`, a file that was named, or None; `configs`, configurations with a `notifications:` of their own;
            `jobs`, of which jobs the channels of each of these hear, where that is not all.
        cwd: The folder where `run` was typed.
        environ: The environment.

    Raises:
        ConfigError: One of them is not there or wrong.
    """
    if not (sources.get("file") or sources.get("configs") or may_say_something(cwd, environ)):
        return NotificationSettings()
    from parallel_ml.config.notifications import load_notifications  # noqa: PLC0415 - slow, and most runs send nothing

    if sources.get("file"):
        return load_notifications(sources["file"], cwd=cwd, environ=environ)
    jobs = sources.get("jobs") or {}
    found = [
        load_notifications(path, cwd=cwd, environ=environ).about(jobs.get(path, ()))
        for path in sources.get("configs") or ()
    ]
    if not found:
        return load_notifications(None, cwd=cwd, environ=environ)
    return found[0].joined(found[1:])


def routes_of(settings: NotificationSettings, say: Callable[[str], None]) -> list[Route]:
    """Return the channels that settings ask for; one that cannot be made is said and left out."""
    if not settings.channels:
        return []
    from parallel_ml.notify.registry import build_channels  # noqa: PLC0415
    from parallel_ml.notify.route import Route  # noqa: PLC0415

    routes = []
    for entry in settings.channels:
        only = NotificationSettings(channels=(entry,))
        try:
            channels: Sequence[Channel] = build_channels(only, say)
        except (MissingPackage, UsageError) as error:
            say(f"no messages by {entry.name}: {error}")
            continue
        routes += [
            Route(one, entry.min_severity, entry.quiet_hours, entry.language, jobs=entry.jobs) for one in channels
        ]
    return routes


def secrets_of(settings: NotificationSettings) -> list[str]:
    """Return what must not stand in any message: the secrets of the channels themselves."""
    from parallel_ml.notify.secret_parts import secrets_in  # noqa: PLC0415

    return secrets_in([entry.options for entry in settings.channels])


class Messenger:
    """Sends the messages of one run from a thread of its own; it delays nothing and changes no exit code."""

    def __init__(
        self, layout: RunLayout, settings: NotificationSettings, monitor: ProcessMonitor, say: Callable[[str], None]
    ) -> None:
        """Open the run's outbox, and listen to its monitor.

        Args:
            layout: The run's files.
            settings: What the user asks for.
            monitor: Tells what happens.
            say: Called, from the thread of its own too, with lines for the run's log.
        """
        self._layout, self._settings, self._say = layout, settings, say
        self._dispatcher: Dispatcher | None = None
        routes = routes_of(settings, say)
        if routes:
            self._open(routes, monitor)

    def _open(self, routes: Sequence[Route], monitor: ProcessMonitor) -> None:
        from parallel_ml.notify.compose import Composer  # noqa: PLC0415
        from parallel_ml.notify.dispatcher import Dispatcher  # noqa: PLC0415
        from parallel_ml.notify.endpoint import shared_folder  # noqa: PLC0415
        from parallel_ml.notify.notices import WANTED, Notices  # noqa: PLC0415
        from parallel_ml.notify.scrub import Scrubber  # noqa: PLC0415

        layout, settings, say = self._layout, self._settings, self._say
        try:
            self._dispatcher = Dispatcher(layout.outbox, routes, say=say, shared=shared_folder(os.environ))
        except StoreError as error:
            say(f"no messages: {error}")
            return
        languages = dict.fromkeys(route.language for route in routes)
        scrubber = Scrubber(secrets_of(settings))
        composers = [
            Composer(
                layout.dir.name,
                language=language,
                links=settings.links,
                templates=settings.templates,
                scrubber=scrubber,
            )
            for language in languages
        ]
        notices = Notices(composers, self._dispatcher.put, _Source(layout), memory=layout.outbox / "best.json")
        for kind in WANTED:
            monitor.subscribe(notices, EventKind(kind))
        self._dispatcher.start()

    def close(self) -> list[str]:
        """Give the messages their last seconds; return what was not delivered, a line for each channel and reason."""
        dispatcher = self._dispatcher
        if dispatcher is None:
            return []
        cut_short = True
        try:
            dispatcher.close()
            cut_short = False
        finally:
            unsent = dispatcher.undelivered()
            if cut_short:  # by Ctrl-C: no provider is to blame
                unsent = [replace(one, reason=CUT_SHORT) if one.waiting else one for one in unsent]
            left = [one.line for one in unsent]
            with contextlib.suppress(StoreError):
                write_json(self._layout.undelivered, {"v": 1, "sent": dispatcher.sent, "notes": left})
        return left

    def send_older(self, layouts: Iterable[RunLayout]) -> None:
        """Send, beside the run, what waits of runs that nobody drives any more, and of `TrainingMonitor`."""
        if self._dispatcher is not None:
            threading.Thread(target=self._send_older, args=(layouts,), name="older messages", daemon=True).start()

    def _send_older(self, layouts: Iterable[RunLayout]) -> None:
        try:
            from parallel_ml.notify.left import remembered  # noqa: PLC0415
            from parallel_ml.notify.outbox import waiting  # noqa: PLC0415

            until = time.monotonic() + FLUSH_S
            for layout in islice(layouts, MOST_OLDER):
                if layout.dir != self._layout.dir and waiting(layout.outbox) and not is_locked(layout.lock):
                    with contextlib.suppress(StoreError):  # somebody else is sending them
                        flush(layout, routes_of(self._settings, self._say), self._say, until)
            for place in remembered(os.environ):
                with contextlib.suppress(ConfigError):
                    flush_left(place, settings_of(place.sources, place.cwd, os.environ), self._say, until)
        except Exception as error:  # noqa: BLE001 - what an older run left must not disturb this one
            self._say(f"messages of older runs: {type(error).__name__}: {error}")


def flush(
    layout: RunLayout, routes: Sequence[Route], say: Callable[[str], None], until: float | None = None
) -> tuple[int, list[Undelivered]]:
    """Send what waits in a run's outbox; return how many messages were sent, and what was not.

    Args:
        layout: The run's files.
        routes: The channels.
        say: Called with lines for people.
        until: When the flush that this is a part of should be over, by `time.monotonic`; None is after `FLUSH_S`.

    Raises:
        StoreError: Another process is sending them.
    """
    from parallel_ml.notify.dispatcher import Dispatcher  # noqa: PLC0415
    from parallel_ml.notify.endpoint import shared_folder  # noqa: PLC0415

    dispatcher = Dispatcher(layout.outbox, routes, say=say, shared=shared_folder(os.environ))
    left = dispatcher.close(_share(until))
    if left:
        with contextlib.suppress(StoreError):
            notes = [one.line for one in left]
            write_json(layout.undelivered, {"v": 1, "sent": dispatcher.sent, "notes": notes})
    else:
        layout.undelivered.unlink(missing_ok=True)
    return dispatcher.sent, left


def flush_left(
    place: Left, settings: NotificationSettings, say: Callable[[str], None], until: float | None = None
) -> tuple[int, list[Undelivered]]:
    """Send what waits in the outboxes of `TrainingMonitor` in a folder; as `flush`, but for what others send."""
    from parallel_ml.notify.dispatcher import Dispatcher  # noqa: PLC0415
    from parallel_ml.notify.endpoint import shared_folder  # noqa: PLC0415

    sent = 0
    unsent: Counter[Undelivered] = Counter()
    until = time.monotonic() + FLUSH_S if until is None else until
    for outbox in place.outboxes():
        try:
            dispatcher = Dispatcher(outbox, routes_of(settings, say), say=say, shared=shared_folder(os.environ))
        except StoreError as error:  # a monitor that lives may be sending these
            say(str(error))
            continue
        left = dispatcher.close(_share(until))
        sent += dispatcher.sent
        for one in left:
            unsent[replace(one, count=0)] += one.count
        if not any(one.waiting for one in left):
            shutil.rmtree(outbox, ignore_errors=True)
    place.forget_if_empty(os.environ)
    return sent, [replace(one, count=count) for one, count in unsent.items()]


def _share(until: float | None) -> float:
    """Return how long one outbox of a flush may take."""
    return FLUSH_S if until is None else max(LEAST_FLUSH_S, until - time.monotonic())


class _Source:
    """Where messages take their facts from: the run's files."""

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout

    def status(self) -> RunStatus:
        return RunView(self._layout).status()

    def result(self, job: JobStatus) -> JobResult:
        return job_result(job)


def problems_of(sources: Mapping[str, Any], cwd: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Check the sources before anything starts, and return what is allowed and probably not meant.

    Raises:
        ConfigError: One of them is not there or wrong.
    """
    return settings_of(sources, cwd, environ).warnings
