"""The confusion matrices of a report."""

from __future__ import annotations

from typing import Any

from parallel_ml.report.blocks import Block, Chart, Table, Text
from parallel_ml.report.charts.matrix import MOST_CLASSES, matrix, most_confused
from parallel_ml.report.facts import JobFacts, Report
from parallel_ml.report.words import joined, label

MOST_MATRICES = 9
_MOST_NAMED = 20


def confusion_blocks(report: Report, language: str) -> list[Block]:
    """Return the confusion matrices of the best jobs."""
    told = [(job, *found) for job in report.coloured if (found := _counts(job.analysis)) is not None]
    blocks: list[Block] = [_matrix(job, counts, names, language) for job, counts, names in told[:MOST_MATRICES]]
    if len(told) > MOST_MATRICES:
        blocks.append(Text(label("more_matrices", language, count=len(told) - MOST_MATRICES)))
    return blocks


def _counts(analysis: Any) -> tuple[list[list[int]], list[str]] | None:
    """Return the confusion matrix of a `result.json` and its classes; None where it has none that makes sense."""
    counts, names = analysis.get("confusion_matrix"), analysis.get("classes")
    if not isinstance(counts, list) or not counts or not isinstance(names, list) or len(names) != len(counts):
        return None
    for row in counts:
        if not isinstance(row, list) or len(row) != len(counts):
            return None
        if not all(isinstance(count, int) and 0 <= count < 1 << 53 for count in row):
            return None
    return counts, [str(name) for name in names]


def _matrix(job: JobFacts, counts: list[list[int]], names: list[str], language: str) -> Chart:
    right, total = sum(row[place] for place, row in enumerate(counts)), sum(map(sum, counts))
    wrong = most_confused(counts, names)
    told = [label("taken_for", language, truth=truth, answer=answer, count=count) for truth, answer, count in wrong]
    all_of_them = {"job": job.label, "all": total}
    if wrong:
        description = label("matrix_alt", language, right=right, wrong=joined(told, language), **all_of_them)
    else:
        description = label("matrix_all_right", language, **all_of_them)
    svg = matrix(counts, names, description=description, answer=label("answer", language))
    if len(counts) > MOST_CLASSES:
        wrong = most_confused(counts, names, _MOST_NAMED)
        header = tuple(label(key, language) for key in ("true_class", "answer", "how_often"))
        table = Table(description, header, [(truth, answer, str(count)) for truth, answer, count in wrong])
    else:
        rows = [(name, *map(str, row)) for name, row in zip(names, counts, strict=True)]
        header = (label("true_class", language), *names)
        table = Table(description, header, rows, frozenset(range(1, len(header))))
    return Chart(job.label, svg, description, table)
