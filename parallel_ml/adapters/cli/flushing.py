"""What `notify flush` does: finds the outboxes that are meant, and sends what waits in each."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parallel_ml.errors import ParallelMLError, StoreError
from parallel_ml.notify.left import Left, left_at, remembered
from parallel_ml.notify.outbox import waiting
from parallel_ml.notify.route import Undelivered
from parallel_ml.notify.settings import NotificationSettings
from parallel_ml.runtime.client import RunClient
from parallel_ml.runtime.messages import FLUSH_S, flush, flush_left, routes_of, settings_of
from parallel_ml.store.files import is_locked, read_json
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.runs import run_layouts, runs_folder


class Flushing:
    """Sends what waits, and keeps what became of it.

    Attributes:
        sent: How many messages were sent.
        unsent: What was not, a line each.
        quiet: What waits for the end of quiet hours, a line each: that is as it should be.
        said: What else a person should see.
    """

    def __init__(self, file: str | None, runs_dir: str | None) -> None:
        """Send nothing yet.

        Args:
            file: Settings in place of those that runs and monitors had, or None.
            runs_dir: The runs folder, or None.
        """
        self._file, self._runs_dir = file, runs_dir
        self._until = time.monotonic() + FLUSH_S
        self.sent = 0
        self.unsent: list[str] = []
        self.quiet: list[str] = []
        self.said: list[str] = []

    def only(self, name: str) -> None:
        """Send what waits of one run, or in one folder of reports.

        Raises:
            ParallelMLError: There is no such thing, or its settings are wrong.
        """
        place = left_at(Path(name), os.environ)
        if place is not None:
            self._flush_left(place)
        else:
            self._flush_one(RunLayout(RunClient.find(name, runs_dir=self._runs_dir).dir))

    def all(self) -> None:
        """Send what waits of all runs and of `TrainingMonitor`; what is wrong with one harms no other."""
        for layout in run_layouts(runs_folder(self._runs_dir, os.environ, Path.cwd()), os.environ):
            try:
                if is_locked(layout.lock):
                    continue  # its supervisor sends them
                self._flush_run(layout)
            except ParallelMLError as error:
                self.unsent.append(f"run {layout.dir.name}: {error}")
        here = left_at(Path("training_reports"), os.environ)
        places = {place.folder: place for place in [*remembered(os.environ), *([here] if here else [])]}
        for place in places.values():
            try:
                self._flush_left(place)
            except ParallelMLError as error:
                self.unsent.append(f"{place.folder.parent}: {error}")

    def _flush_one(self, layout: RunLayout) -> None:
        """Send what waits of a run that was named, unless it is being driven and does that itself."""
        try:
            self._flush_run(layout)
        except StoreError:
            if not is_locked(layout.lock):
                raise
            count = len(waiting(layout.outbox))
            what = f"{count} message{'' if count == 1 else 's'}"
            self.said.append(f"run {layout.dir.name} goes on, and is sending its {what} itself")

    def _flush_run(self, layout: RunLayout) -> None:
        if not waiting(layout.outbox):
            return
        plan = read_json(layout.plan) or {}
        settings = self._settings(plan.get("notify") or {}, Path(plan.get("cwd", ".")))
        count, left = flush(layout, routes_of(settings, self.said.append), self.said.append, self._until)
        self._note(f"run {layout.dir.name}", count, left)

    def _flush_left(self, place: Left) -> None:
        if place.outboxes():
            count, left = flush_left(place, self._settings(place.sources, place.cwd), self.said.append, self._until)
            self._note(str(place.folder.parent), count, left)

    def _settings(self, sources: Mapping[str, Any], cwd: Path) -> NotificationSettings:
        if self._file:
            return settings_of({"file": self._file}, Path.cwd(), os.environ)
        return settings_of(sources, cwd, os.environ)

    def _note(self, about: str, count: int, left: Sequence[Undelivered]) -> None:
        self.sent += count
        for one in left:
            (self.quiet if one.quiet_until else self.unsent).append(f"{about}: {one.line}")
