"""Foretelling new rows of a table with a saved model: `python -m parallel_ml.training.table_prediction MODEL ROWS.csv`.

Writes CSV to stdout, one line for each row: the answer, and for classes the probability of each. From Python::

    predictor = TablePredictor(Path("runs/.../checkpoints/best_model-....keras"))
    answers = predictor.predict(Path("new.csv"))
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parallel_ml.training.console import complain
from parallel_ml.training.devices import load_framework
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.modelfile import damage
from parallel_ml.training.scores import softmax
from parallel_ml.training.table_columns import read_columns
from parallel_ml.training.table_encoding import encode
from parallel_ml.training.table_record import TableRecord, read_record
from parallel_ml.training.table_text import open_table
from parallel_ml.training.tasks import Classification

_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Answers:
    """What a model says of some rows.

    Attributes:
        values: The class of each row, or float64 (rows,) in the unit of the target.
        probabilities: float64 (rows, classes) in the order of the record's classes; None for numbers.
        foreign: How many rows of which column hold a text that no row of the training had.
    """

    values: list[str] | np.ndarray
    probabilities: np.ndarray | None
    foreign: dict[str, int]


class TablePredictor:
    """A saved model and how its rows are encoded."""

    def __init__(self, model: Path) -> None:
        """Load both.

        Raises:
            TrainingError: One of them is not there or not whole.
        """
        self.record: TableRecord = read_record(model)
        problem = damage(model)
        if problem is not None:
            raise TrainingError(f"{model}: {problem}")
        load_framework(None)
        import keras  # noqa: PLC0415 - heavy, and not needed where the record is wrong

        self._model: Any = keras.saving.load_model(model, compile=False)

    def predict(self, rows: Path) -> Answers:
        """Return the answers for the rows of a CSV file that has the feature columns, in any order.

        Raises:
            TrainingError: A column is not there, or holds what it did not in training.
        """
        record = self.record
        columns = read_columns(open_table(rows), record.features, texts=record.texts, numbers=record.numbers)
        matrix, foreign = encode(columns, record.encodings)
        outputs = np.asarray(self._model.predict(matrix, batch_size=_ROWS_AT_A_TIME, verbose=0), dtype=np.float64)
        if isinstance(record.task, Classification):
            shares = outputs if _are_shares(outputs) else softmax(outputs)
            return Answers([record.task.classes[place] for place in shares.argmax(axis=1)], shares, foreign)
        return Answers(record.task.numbers(outputs), None, foreign)


def _are_shares(outputs: np.ndarray) -> bool:
    """Return whether outputs are probabilities; a model of the user's own may give what is before the softmax."""
    return bool((outputs >= 0).all() and (abs(outputs.sum(axis=1) - 1) < 1e-2).all())


def main(arguments: list[str]) -> int:
    """Write the answers for a file; return the exit code."""
    if len(arguments) != 2:
        complain("usage: python -m parallel_ml.training.table_prediction MODEL ROWS.csv")
        return 2
    try:
        predictor = TablePredictor(Path(arguments[0]))
        answers = predictor.predict(Path(arguments[1]))
    except TrainingError as error:
        complain(f"error: {error}")
        return 1
    for name, count in answers.foreign.items():
        complain(f"note: column {name}: {count} rows hold a text that was not learned; it is taken as none")
    _write(predictor.record, answers)
    return 0


def _write(record: TableRecord, answers: Answers) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if isinstance(record.task, Classification) and answers.probabilities is not None:
        writer.writerow([record.target, *(f"probability of {name}" for name in record.task.classes)])
        shares = [[f"{share:.6f}" for share in row] for row in answers.probabilities]
        writer.writerows([value, *row] for value, row in zip(answers.values, shares, strict=True))
        return
    writer.writerow([record.target])
    writer.writerows([f"{value:.10g}"] for value in answers.values)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
