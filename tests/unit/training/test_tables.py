"""A table as a whole: what is learned from it, how it is divided, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from parallel_ml.training.console import start_log
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.table_prediction import main
from parallel_ml.training.table_record import read_record, record_path
from parallel_ml.training.tables import keep_record
from parallel_ml.training.tasks import Classification, Regression
from tests.unit.training.tables import learn, many, settings, write


def test_texts_are_classes(tmp_path: Path) -> None:
    """Each class is divided alike, and the features are all other columns."""
    data = learn(tmp_path, many("n,x,y", 100))
    assert data.record.task == Classification(("a", "b"))
    assert data.record.features == ("n", "x")
    assert (data.matrix.shape, data.matrix.dtype.name) == ((100, 2), "float32")
    assert [np.bincount(data.labels[list(part)]).tolist() for part in vars(data.splits).values()] == [
        [40, 40],
        [5, 5],
        [5, 5],
    ]


def test_few_whole_numbers_are_classes_in_their_order(tmp_path: Path) -> None:
    """2 comes before 10."""
    task = learn(tmp_path, "x,y\n" + "".join(f"{n},{(2, 10)[n % 2]}\n" for n in range(30))).record.task
    assert task == Classification(("2", "10"))


def test_other_numbers_are_a_regression(tmp_path: Path) -> None:
    """Labels are in deviations of the rows to train on."""
    data = learn(tmp_path, "x,y\n" + "".join(f"{n},{n}.5\n" for n in range(50)))
    task = data.record.task
    assert isinstance(task, Regression)
    train = data.labels[list(data.splits.train)]
    assert (data.labels.shape, data.labels.dtype.name) == ((50, 1), "float32")
    assert (float(train.mean()), float(train.std())) == pytest.approx((0, 1), abs=1e-6)
    assert task.numbers(data.labels).tolist() == pytest.approx([n + 0.5 for n in range(50)], abs=1e-5)


def test_what_is_asked_for_goes_before_what_the_values_say(tmp_path: Path) -> None:
    """1 to 5 may be marks to be foretold as numbers."""
    text = "x,y\n" + "".join(f"{n},{n % 5}\n" for n in range(50))
    assert isinstance(learn(tmp_path, text, algorithm_type="regression").record.task, Regression)


def test_features_may_be_chosen(tmp_path: Path) -> None:
    """Others are not even looked at."""
    data = learn(tmp_path, many("n,date,y", 40, "{n},2026-01-{n},{c}"), feature_columns=["n"])
    assert data.record.features == ("n",)


def test_test_rows_may_have_a_file_of_their_own(tmp_path: Path) -> None:
    """In another order of columns; they do not touch the scaling, and all other rows are trained on and watched."""
    other = write(tmp_path / "test.csv", "y;x;n\na;1000;1000\nb;0.5;0\n")
    text = many("n,x,y", 90)
    data = learn(tmp_path, text, test_data_path=str(other))
    assert (len(data.splits.train), len(data.splits.validation), data.splits.test) == (80, 10, (90, 91))
    assert data.labels[90:].tolist() == [0, 1]
    alone = learn(tmp_path, text)
    assert data.matrix[0] == pytest.approx(alone.matrix[0], abs=0.1)


def test_the_same_file_is_divided_the_same_way(tmp_path: Path) -> None:
    """Another seed divides it otherwise."""
    text = many("n,x,y", 60)
    assert learn(tmp_path, text).splits == learn(tmp_path, text).splits
    assert learn(tmp_path, text).splits != learn(tmp_path, text, random_state=7).splits


def test_a_class_with_one_row_is_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a line says that it is tested nowhere."""
    start_log("INFO")
    data = learn(tmp_path, many("n,x,y", 50) + "7,7,rare\n")
    assert 50 in data.splits.train
    assert "classes with fewer than 3 rows are not in every part of the data: rare" in capsys.readouterr().out


def test_a_text_that_training_has_not_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the test file; the row is kept."""
    start_log("INFO")
    other = write(tmp_path / "test.csv", "k,y\nnew,a\nu,b\n")
    data = learn(tmp_path, many("k,y", 60, "u,{c}"), test_data_path=str(other))
    assert data.matrix[60:].tolist() == [[0], [1]]
    assert "column k: 1 rows hold a text that no row to train on has" in capsys.readouterr().out


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "no target": ("a,b\n1,2\n", {}, r"t.csv:1: there is no column 'y'; there are a, b"),
    "no such feature": (many("n,x,y", 9), {"feature_columns": ["nn", "x"]}, r"t.csv:1: there is no column 'nn'"),
    "the target as a feature": (many("n,x,y", 9), {"feature_columns": ["y"]}, "holds the target 'y'"),
    "only a target": ("y,\na,1\nb,2\n", {}, "has no column beside the target 'y'"),
    "an odd category": (many("n,x,y", 9), {"categorical_columns": ["z"]}, "categorical_columns names 'z'"),
    "no rows": ("n,y\n", {}, "has a header and no rows"),
    "one class": (many("n,y", 30, "{n},a"), {}, "column 'y' holds one class alone, 'a'"),
    "one value": (many("n,y", 30, "{n},1.5"), {}, "target is 1.5 in every row"),
    "a target without a value": (
        many("n,x,y", 30) + "1,2,\n3,4,NA\n",
        {},
        r"t.csv:32: column 'y': the target has no value \(and 1 more rows\)",
    ),
    "a number without a value": (
        many("n,y", 30, "{n},{n}.5") + "1,nan\n",
        {"algorithm_type": "regression"},
        r"t.csv:32: column 'y': the target has no value",
    ),
    "a text for a number": (
        many("n,y", 30, "{n},{n}.5") + "1,much\n",
        {"algorithm_type": "regression"},
        r"t.csv:32: column 'y': 'much' is not a finite number; for names write algorithm_type: classification",
    ),
    "numbers as classes": (
        many("n,y", 60, "{n},{n}.5"),
        {"algorithm_type": "classification"},
        "has 60 different values in 60 rows, too many for classes",
    ),
    "an empty column": (many("n,x,y", 30, "{n},,{c}"), {}, "column 'x' holds no value; leave it out"),
    "another text in each row": (
        many("n,name,y", 30, "{n},Mr. {n},{c}"),
        {},
        "column 'name' holds 30 different texts in 30 rows, such as 'Mr. 0'",
    ),
    "too few rows": ("n,y\n1,a\n2,b\n", {}, r"t.csv: 2 rows are too few: none is left for validation"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_cannot_be_learned_is_refused(tmp_path: Path, name: str) -> None:
    """With what is wrong, where it can be said with the line and the column, and what to do."""
    text, keys, message = BAD[name]
    with pytest.raises(TrainingError, match=message):
        learn(tmp_path, text, **keys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n,y\n1,a\n", r"test.csv:1: there is no column 'x'"),
        ("n,x,y\n1,2,a\nfew,2,b\n", r"test.csv:3: column 'n': 'few' is not a number; correct it"),
        ("n,x,y\n1,2,zzz\n", r"test.csv:2: column 'y': the class 'zzz' is in no row to train on"),
        ("n,x,y\n", "test.csv: has a header and no rows"),
    ],
)
def test_a_test_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """It is named, with the line."""
    other = write(tmp_path / "test.csv", text)
    with pytest.raises(TrainingError, match=message):
        learn(tmp_path, many("n,x,y", 30), test_data_path=str(other))


@pytest.mark.parametrize("line", ["{n},{n}.5,{c}", "{c},{n},{n}.5"])
def test_the_record_beside_the_model_comes_back(tmp_path: Path, line: str) -> None:
    """Of classes and of numbers."""
    record = learn(tmp_path, many("n,x,y", 60, line)).record
    keep_record(settings(tmp_path, tmp_path / "t.csv"), record)
    assert read_record(tmp_path / "best.keras") == record


def test_a_record_that_is_damaged_or_gone_is_told(tmp_path: Path) -> None:
    """By the path where it should be."""
    model = tmp_path / "best.keras"
    with pytest.raises(TrainingError, match=r"best.table.json: cannot be read"):
        read_record(model)
    record_path(model).write_text('{"version": 1}')
    with pytest.raises(TrainingError, match=r"best.table.json: is no record of a table"):
        read_record(model)


def test_a_model_without_its_record_foretells_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr and the exit code 1; with other arguments the usage and 2."""
    assert main([str(tmp_path / "best.keras"), "new.csv"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path}/best.table.json: cannot be read")
    assert said.endswith("it must lie beside the model\n")
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_other_data_under_way_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once there is a state to go on from; the record is that of the new data."""
    start_log("INFO")
    record = learn(tmp_path, many("n,x,y", 60)).record
    asked = settings(tmp_path, tmp_path / "t.csv")
    keep_record(asked, record)
    asked.process.checkpoint_dir.mkdir()
    (asked.process.checkpoint_dir / "state-000001.npz").touch()
    keep_record(asked, replace(record, data="other"))
    assert "the table is not what it was when this training began" in capsys.readouterr().out
    assert read_record(tmp_path / "best.keras").data == "other"


CELLS = st.sampled_from(
    ["1", "-2.5", "x", "", "NA", "inf", "1e999", '"', "2026-01-01", "\x00", "é", " ", "7,5", "0x1f"]
)


@settings_of_hypothesis(max_examples=150, deadline=None)
@given(
    header=st.lists(st.sampled_from(["y", "a", "b", "", "1", '"q"', " y "]), min_size=1, max_size=4),
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=30),
    separator=st.sampled_from([",", ";", "\t", "|", " "]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_text_is_learned_or_refused_in_one_sentence(
    header: list[str], rows: list[list[str]], separator: str, end: str
) -> None:
    """Nothing else is raised, and what a model is given is finite."""
    text = end.join(separator.join(row) for row in [header, *rows])
    with TemporaryDirectory() as folder:
        try:
            data = learn(Path(folder), text)
        except TrainingError as error:
            assert str(error).startswith((folder, "the target"))  # noqa: PT017 - either is right
        else:
            assert np.isfinite(data.matrix).all()
            assert np.isfinite(data.labels).all()
