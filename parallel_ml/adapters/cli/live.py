"""The display of a run on a terminal: a row for each job, drawn again four times a second."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from parallel_ml.adapters.cli.cells import counts, heading, job_columns, job_notes
from parallel_ml.adapters.cli.lines import event_line
from parallel_ml.adapters.cli.table import draw
from parallel_ml.adapters.cli.text import shorten
from parallel_ml.errors import ParallelMLError

if TYPE_CHECKING:
    from parallel_ml.adapters.cli.screen import Screen
    from parallel_ml.core.status import JobStatus, RunStatus
    from parallel_ml.monitor.process_monitor import MonitorEvent
    from parallel_ml.runtime.client import RunClient

LOOK_S = 0.25
LOOK_PER_JOB_S = 0.005
"""A look reads a file for each job (0.1 ms): 200 of them four times a second would be felt by the trainings."""
BAR_CELLS = 10
_FIRST = ("stopping", "starting", "running", "retrying", "paused", "failed", "pending", "stopped", "completed")
_STYLES = {
    "completed": "green",
    "running": "cyan",
    "starting": "cyan",
    "failed": "bold red",
    "retrying": "yellow",
    "stopping": "yellow",
    "stopped": "yellow",
    "pending": "dim",
}


class LiveDisplay:
    """Shows a run for as long as it is open. It reads the run's files like any other reader."""

    def __init__(self, client: RunClient, screen: Screen) -> None:
        """Show the run of `client` on `screen`."""
        self._client = client
        self._status = client.status()
        self._looked_at = time.monotonic()
        self.console = Console(file=cast("TextIO", screen), highlight=False)
        self._live = Live(
            console=self.console,
            get_renderable=self._render,
            refresh_per_second=4,
            transient=True,
            vertical_overflow="crop",
        )

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Draw for as long as the block runs; then clear the display and give the cursor back."""
        self._live.start(refresh=True)
        try:
            yield
        finally:
            self._live.stop()

    def tell(self, event: MonitorEvent) -> None:
        """Print what the rows do not show, above them."""
        if str(event.kind) in {"note", "run_started"} and (line := event_line(event)):
            self.console.print(Text(line), soft_wrap=True)

    def finish(self, lines: Sequence[str]) -> None:
        """Print the last lines, once nothing is drawn any more."""
        for line in lines:
            self.console.print(styled(line), soft_wrap=True)

    def _render(self) -> Group:
        if time.monotonic() - self._looked_at >= LOOK_S + LOOK_PER_JOB_S * len(self._status.jobs):
            with contextlib.suppress(ParallelMLError, OSError):  # it is drawn again in a moment
                self._status = self._client.status()
            self._looked_at = time.monotonic()
        blocks = not (self.console.encoding or "").lower().startswith("utf")
        size = self.console.size
        lines = live_lines(self._status, size.width, size.height, plain=blocks)
        texts = [styled(line) for line in lines]
        for text in texts:
            text.no_wrap, text.overflow = True, "crop"
        return Group(*texts)


def live_lines(status: RunStatus, width: int, height: int, *, plain: bool = False) -> list[str]:
    """Return the display as lines, none wider than `width` and no more than `height` of them.

    Args:
        status: The run.
        width: Cells of the terminal.
        height: Lines of the terminal.
        plain: Draw bars in ASCII.
    """
    if status.supervisor != "running":  # it is us, and about to begin or to end
        status = replace(status, jobs=tuple(replace(job, waiting=None) for job in status.jobs))
    room = max(1, height - 4)  # heading, titles, footer, and the line where the cursor stands
    jobs, hidden = shown_jobs(status.jobs, room)

    def bar(job: JobStatus) -> str:
        return progress_bar(job.epoch, job.epochs, plain=plain)

    rows = draw(job_columns(jobs, bar=bar, steady=True), width, job_notes(jobs))
    stopping = any(job.state == "stopping" for job in status.jobs)
    footer = "stopping; Ctrl-C again kills" if stopping else "Ctrl-C stops the run"
    more = f"+{len(hidden)} more: {counts(hidden)}; " if hidden else ""
    lines = [heading(status), *rows, more + footer]
    return [shorten(line, width) for line in lines][: max(1, height - 1)]


def shown_jobs(jobs: Sequence[JobStatus], room: int) -> tuple[list[JobStatus], list[JobStatus]]:
    """Return the jobs that have a row, and the others: in the order given where all fit, else those that run first."""
    if len(jobs) <= room:
        return list(jobs), []
    ordered = sorted(jobs, key=lambda job: _FIRST.index(job.state) if job.state in _FIRST else len(_FIRST))
    return ordered[:room], ordered[room:]


def progress_bar(epoch: int | None, epochs: int | None, *, plain: bool = False) -> str:
    """Return how much is done as a bar; "" where the end is not known.

    >>> progress_bar(1, 4, plain=True)
    '##........'
    """
    if not epochs:
        return ""
    done = min(BAR_CELLS, BAR_CELLS * (epoch or 0) // epochs)
    full, empty = ("#", ".") if plain else ("█", "░")
    return full * done + empty * (BAR_CELLS - done)


def styled(line: str) -> Text:
    """Return a line with its states in colour; no width changes, and NO_COLOR is heeded by the console."""
    text = Text(line)
    for word, style in _STYLES.items():
        text.highlight_regex(rf"(?<=\s){word}(?=\s|,|$)", style)
    return text
