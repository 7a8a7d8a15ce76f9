"""What differed between the configurations of a run: the keys that not all jobs have alike, and never a secret.

The values are those that the user wrote: variables such as `${TOKEN}` stand in the run's copies unfilled.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from parallel_ml.adapters.cli.cells import marked
from parallel_ml.adapters.cli.table import Column, draw
from parallel_ml.adapters.cli.text import cell_width, shorten
from parallel_ml.config.kept import read_config
from parallel_ml.core.differences import Rows
from parallel_ml.core.status import JobStatus

MOST_LINES = 3
"""Lines of a job where its values have no column."""
MOST_COMPARED = 100
"""Jobs whose configurations are compared; to read one takes some milliseconds (6 for the second example)."""
WIDEST = 160
"""Cells of a table that nobody's terminal limits."""
_TITLE = "what differed"


def difference_lines(jobs: Sequence[JobStatus], rows: Rows, best: str | None, width: int | None) -> list[str]:
    """Return what differed as a table: of a row for each job, else of a row for each key, else some lines for each job.

    Args:
        jobs: Those that are compared.
        rows: What `differences` found between them.
        best: The name of the job that is marked.
        width: Cells of the terminal; None is as many as wanted.
    """
    if not rows:
        return []
    names, room = marked([job.name for job in jobs], best), width or WIDEST
    by_job = [Column(_TITLE, names), *(Column(key, values) for key, values in rows)]
    values_by_job = list(zip(*(values for _, values in rows), strict=True))
    by_key = [
        Column(_TITLE, [key for key, _ in rows]),
        *(Column(name, values) for name, values in zip(names, values_by_job, strict=True)),
    ]
    for columns in (by_job, by_key):
        lines = draw(columns)
        if max(map(cell_width, lines)) <= room:
            return lines
    keys = [key for key, _ in rows]
    told = [", ".join(map(" ".join, zip(keys, values, strict=True))) for values in values_by_job]
    lines = [_TITLE]
    for name, text in zip(names, told, strict=True):
        lines += textwrap.wrap(
            f"{name}: {text}", max(room, 8), subsequent_indent="  ", max_lines=MOST_LINES, placeholder=" …"
        )
    return [shorten(line, room) for line in lines]


def configs_of(jobs: Sequence[JobStatus]) -> list[dict[str, Any]]:
    """Return the jobs' configurations; [] where one cannot be read, and where there is one job alone or too many."""
    if not 1 < len(jobs) <= MOST_COMPARED:
        return []
    configs = [read_config(job.paths.get("dir")) for job in jobs]
    return configs if all(configs) else []
