"""The rows of a run that is watched: bars, curves, and columns that stand still while the figures change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from parallel_ml.adapters.cli.cells import (
    device,
    elapsed,
    epochs,
    figure,
    job_notes,
    memory,
    metric,
    time_left,
    watched_metric,
)
from parallel_ml.adapters.cli.glyphs import progress_bar, sparkline
from parallel_ml.adapters.cli.table import Column, draw
from parallel_ml.adapters.cli.text import cell_width, safe
from parallel_ml.core.comparison import finite
from parallel_ml.core.status import JobStatus

TREND_EPOCHS = 12
_WIDE = 110
"""From so many columns on bars and curves have their full width."""
_LEAST_NOTE_ROOM = 16


@dataclass
class LiveTable:
    """Draws the rows; a column that was once so wide never becomes narrower until the terminal's width changes.

    Attributes:
        plain: Draw in ASCII.
    """

    plain: bool = False
    _width: int = 0
    _seen: dict[str, int] = field(default_factory=dict)

    def lines(
        self,
        jobs: Sequence[JobStatus],
        everybody: Sequence[JobStatus],
        trends: Mapping[str, Sequence[float | None]],
        width: int,
    ) -> list[str]:
        """Return the titles and a line for each job.

        Args:
            jobs: Those that have a row.
            everybody: All jobs of the run; which columns there are is theirs to say.
            trends: The last epochs' values of `watched_metric` by job, oldest first.
            width: Cells of the terminal.
        """
        if width != self._width:
            self._width, self._seen = width, {}
        columns = [self._steady(column) for column in self._columns(jobs, everybody, trends, width)]
        notes = job_notes(jobs)
        room = max((cell_width(note.text) for note in notes if note.needed), default=0)
        self._seen["a note"] = max(self._seen.get("a note", 0), min(room, _LEAST_NOTE_ROOM))
        return draw(columns, width, notes, self._seen["a note"])

    def _steady(self, column: Column) -> Column:
        least = max(column.natural if any(column.cells) else column.least, self._seen.get(column.title, 0))
        self._seen[column.title] = least
        return replace(column, least=least)

    def _columns(
        self,
        jobs: Sequence[JobStatus],
        everybody: Sequence[JobStatus],
        trends: Mapping[str, Sequence[float | None]],
        width: int,
    ) -> list[Column]:
        """Return the columns; where no job of the run has told an epoch or a card yet, theirs are left out."""
        watched, title = watched_metric(everybody)
        bar_cells, trend_cells = (10, TREND_EPOCHS) if width >= _WIDE else (8, 8)
        names = max((cell_width(safe(job.name)) for job in everybody), default=0)
        learns = any(job.epoch or job.epochs or job.metrics for job in everybody)
        on_cards = any(job.allocation and job.allocation.get("gpu_index") is not None for job in everybody)
        measured = any(finite(job.resources.get("gpu_memory_mb")) is not None for job in everybody)
        bars = [progress_bar(job.epoch, job.epochs, bar_cells, plain=self.plain) if _begun(job) else "" for job in jobs]
        curves = [sparkline(trends.get(job.name, ()), trend_cells, plain=self.plain) for job in jobs]
        places = [device(job.allocation) for job in jobs] if on_cards else [""] * len(jobs)
        cards = [memory(job, "gpu_memory") for job in jobs] if measured else [""] * len(jobs)
        return [
            Column("job", [safe(job.name) for job in jobs], least=names, floor=max(10, min(16, width // 7))),
            Column("state", [job.state for job in jobs], least=9),
            Column("card", places, rank=5),
            Column("", bars, least=bar_cells * learns, rank=7),
            Column("epoch", [epochs(job) for job in jobs], right=True, rank=1, least=5 * learns),
            Column("left", [time_left(job) for job in jobs], right=True, rank=4, least=6 * learns),
            Column("loss", [metric(job, "train_loss", figure) for job in jobs], right=True, rank=3, least=6 * learns),
            Column(title, [metric(job, watched, figure) for job in jobs], right=True, rank=2, least=7 * learns),
            Column(" ", curves, least=trend_cells * learns, rank=6),
            Column("memory", [memory(job, "memory") for job in jobs], right=True, rank=9, least=7),
            Column("GPU mem", cards, right=True, rank=8),
            Column("time", [elapsed(job) for job in jobs], right=True, rank=10, least=6),
        ]


def _begun(job: JobStatus) -> bool:
    return job.state != "pending" or job.epoch is not None
