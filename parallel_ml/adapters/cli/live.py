"""The display of a run on a terminal, drawn four times a second: of `run`, `resume` and `status --watch`."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TextIO, cast

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.cells import counts, heading, staleness, watched_metric
from parallel_ml.adapters.cli.colours import faint, in_colour, strong, styled
from parallel_ml.adapters.cli.glyphs import can_draw
from parallel_ml.adapters.cli.lines import event_line
from parallel_ml.adapters.cli.painter import Painter
from parallel_ml.adapters.cli.rows import TREND_EPOCHS, LiveTable
from parallel_ml.adapters.cli.text import cell_width, safe, shorten
from parallel_ml.core.units import format_duration
from parallel_ml.errors import ParallelMLError

if TYPE_CHECKING:
    from parallel_ml.adapters.cli.screen import Screen
    from parallel_ml.core.status import JobStatus, RunStatus
    from parallel_ml.monitor.process_monitor import MonitorEvent
    from parallel_ml.runtime.client import RunClient

FRAME_S = 0.25
LOOK_PER_JOB_S = 0.005
"""A look reads two files for each job (0.2 ms): 200 of them four times a second would be felt by the trainings."""
_LATER = {"failed": 1, "pending": 2}
_COUNTED = frozenset({"completed", "stopped"})
"""Where not all jobs have a row, these have none, and those that are in neither come first: they run."""
MOST_NEXT = 3
"""Pending jobs that then have a row."""
STOPS, WATCHES = "Ctrl-C stops the run", "Ctrl-C ends the display; the run goes on"

Trends = Mapping[str, Sequence["float | None"]]


class LiveDisplay:
    """Shows a run for as long as it is open. It reads the run's files like any other reader."""

    def __init__(self, client: RunClient, output: Screen, hint: str = STOPS) -> None:
        """Show the run of `client` on `output`; `hint` says what Ctrl-C does."""
        self._client, self._output, self._hint = client, output, hint
        self._table = LiveTable(plain=not can_draw(output.encoding))
        self._colour = in_colour()
        self._painter = Painter(cast("TextIO", output))
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._trends = _Trends(client)
        self.status = client.status()
        self._looked_at = time.monotonic()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Draw for as long as the block runs; then clear the display and give the cursor back."""
        above = cast("TextIO", _Above(self._above))
        thread = threading.Thread(target=self._draw_on, name="display", daemon=True)
        with contextlib.redirect_stderr(above), contextlib.redirect_stdout(above):
            try:  # Ctrl-C may come before the thread is known to run
                self._painter.begin()
                thread.start()
                yield
            finally:
                self._over.set()
                if thread.is_alive():
                    thread.join()
                with self._lock:
                    self._painter.end()

    @property
    def gone(self) -> bool:
        """Whether nobody sees it any more."""
        return self._output.gone

    def tell(self, event: MonitorEvent) -> None:
        """Print what the rows do not show, above them."""
        if str(event.kind) in {"alert", "note", "out_of_memory", "run_started"} and (line := event_line(event)):
            self._above(line)

    def finish(self, lines: Sequence[str]) -> None:
        """Print the last lines, once nothing is drawn any more."""
        self._output.lines(map(styled, lines) if self._colour else lines)

    def _above(self, text: str) -> None:
        with self._lock:
            self._painter.above(text)

    def _draw_on(self) -> None:
        while True:
            self._draw()
            if self._over.wait(FRAME_S):
                return

    def _draw(self) -> None:
        width, height = screen.size(self._output.stream) or (80, 24)
        self._look()
        rows = shown_jobs(self.status.jobs, row_room(self.status, height))[0]
        trends = self._trends.of(rows, watched_metric(self.status.jobs)[0])
        lines = live_lines(self.status, width, height, self._table, trends, self._hint)
        if self._table.plain:
            lines = [line.replace("…", "~") for line in lines]
        with self._lock:
            self._painter.paint(lines, _dressed(lines) if self._colour else lines, width)

    def _look(self) -> None:
        if time.monotonic() - self._looked_at >= FRAME_S + LOOK_PER_JOB_S * len(self.status.jobs):
            with contextlib.suppress(ParallelMLError, OSError):  # it is looked again in a moment
                self.status = self._client.status()
            self._looked_at = time.monotonic()


class _Trends:
    """The last epochs of the jobs that have a row; a job's file is read when it has a new epoch."""

    def __init__(self, client: RunClient) -> None:
        self._client = client
        self._known: dict[str, tuple[object, list[float | None]]] = {}

    def of(self, jobs: Sequence[JobStatus], name: str) -> Trends:
        """Return the values of a metric by job."""
        for job in jobs:
            seen = (name, job.attempt, job.epoch)
            if job.epoch and self._known.get(job.name, (None,))[0] != seen:
                with contextlib.suppress(ParallelMLError):
                    self._known[job.name] = seen, self._client.trend(job.name, name, TREND_EPOCHS)
        return {job: values for job, (_, values) in self._known.items()}


class _Above(io.TextIOBase):
    """What is printed while the display is drawn, a warning of a library perhaps, goes above it line by line."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell, self._begun = tell, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._tell(safe(line))
        return len(text)


def live_lines(
    status: RunStatus,
    width: int,
    height: int,
    table: LiveTable | None = None,
    trends: Trends | None = None,
    hint: str = STOPS,
) -> list[str]:
    """Return the display as lines, none wider than `width` and fewer than `height`: heading, titles, rows, a last line.

    Args:
        status: The run.
        width: Cells of the terminal.
        height: Lines of the terminal.
        table: Draws the rows; the same for each frame, so that columns stand still.
        trends: The last values of `watched_metric` by job.
        hint: What Ctrl-C does.
    """
    jobs, hidden = shown_jobs(status.jobs, row_room(status, height))
    rows = (table or LiveTable()).lines(jobs, status.jobs, trends or {}, width)
    more = [f"+{len(hidden)} more: {counts(hidden)}"] if hidden else []
    stopping = any(job.state == "stopping" for job in status.jobs)
    last = "stopping; Ctrl-C again kills" if stopping and hint == STOPS else hint
    stale = staleness(status) if hint == WATCHES else None
    lines = [_heading(status, width), *rows, *more, f"{stale}; Ctrl-C ends the display" if stale else last]
    return [shorten(line, width) for line in lines][: max(1, height - 1)]


def row_room(status: RunStatus, height: int) -> int:
    """Return how many jobs have a row: all lines but heading, titles, the last one, and where the cursor stands."""
    room = max(1, height - 4)
    return room if len(status.jobs) <= room else max(1, room - 1)


def shown_jobs(jobs: Sequence[JobStatus], room: int) -> tuple[list[JobStatus], list[JobStatus]]:
    """Return the jobs that have a row, and the others.

    In the order given where all fit. Else those that run, those that failed, and those that are next.
    """
    if len(jobs) <= room:
        return list(jobs), []
    pending = [job for job in jobs if job.state == "pending"][:MOST_NEXT]
    shown = [job for job in jobs if job.state not in _COUNTED and (job.state != "pending" or job in pending)]
    shown = sorted(shown, key=lambda job: _LATER.get(job.state, 0))[:room]
    names = {job.name for job in shown}
    return shown, [job for job in jobs if job.name not in names]


def _heading(status: RunStatus, width: int) -> str:
    """Return how the run stands, with as much of its name as there is room for."""
    full = heading(status)
    if status.created and status.as_of:
        since_s = (datetime.fromisoformat(status.as_of) - datetime.fromisoformat(status.created)).total_seconds()
        full += f", {format_duration(since_s) if since_s >= 10 else f'{max(0.0, since_s):.0f}s'}"
    told = counts(status.jobs)
    named = [f"{safe(name)}: {told}" for name in (status.name, status.run) if name]
    return next((text for text in [full, heading(status), *named] if cell_width(text) <= width), told)


def _dressed(lines: Sequence[str]) -> list[str]:
    """Return the lines of the display in colour."""
    first, *rows = lines
    place = first.find(":") + 1
    head = strong(first[:place]) + styled(first[place:])
    return [head, *(map(faint, rows[:1])), *map(styled, rows[1:-1]), *(map(faint, rows[1:][-1:]))]
