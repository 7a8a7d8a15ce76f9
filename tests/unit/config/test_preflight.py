"""What would fail in an hour is said before any training starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_ml.config.preflight import count_images, space_left, unwritable
from parallel_ml.core.units import GIB, MIB
from parallel_ml.errors import ConfigError, ConfigProblem
from tests.unit.config.conftest import SECTIONS, Folder

Images = Callable[..., Path]


def problems(folder: Folder, text: str) -> tuple[ConfigProblem, ...]:
    """Return what stands in the way of a configuration."""
    with pytest.raises(ConfigError) as caught:
        folder.load(folder.write("a.yaml", text)).preflight()
    return caught.value.problems


def warnings(folder: Folder, text: str) -> list[str]:
    """Return what is doubted, the disk aside."""
    told = folder.load(folder.write("a.yaml", text)).preflight()
    return [warning for warning in told if " are free on the disk" not in warning]


def own(command: str, more: str = "") -> str:
    """Return a configuration with an own command."""
    return f"command: {command}\n{more}"


def test_a_good_folder_passes(folder: Folder, images: Images) -> None:
    """Two classes with enough images."""
    images(cat=50, dog=50)
    assert warnings(folder, SECTIONS) == []


@pytest.mark.parametrize(
    ("classes", "part"),
    [
        ({}, "holds no images in class folders"),
        ({"cat": 0, "dog": 0}, "holds no images in class folders"),
        ({"cat": 9}, "images of one class alone (cat)"),
        ({"cat": 9, "dog": 0}, "images of one class alone (cat)"),
        ({"cat": 2, "dog": 1}, "holds 3 images"),
    ],
)
def test_a_folder_without_enough_is_told(folder: Folder, images: Images, classes: dict[str, int], part: str) -> None:
    """With the line where the folder is named."""
    images(**classes)
    (problem,) = problems(folder, SECTIONS)
    assert (problem.file, problem.line, problem.key) == ("a.yaml", 2, "data_preprocessing.image_dir")
    assert part in problem.message


def test_a_missing_folder_is_told(folder: Folder) -> None:
    """With the place where it was looked for."""
    (problem,) = problems(folder, SECTIONS)
    assert problem.message == f"there is no folder {folder.path}/sample_data/images"


def test_a_file_for_a_folder_is_told(folder: Folder) -> None:
    """A CSV file, say."""
    folder.write("sample_data/images", "x")
    assert "is not a folder" in problems(folder, SECTIONS)[0].message


def test_all_configurations_are_looked_at(folder: Folder) -> None:
    """Nobody makes one folder, runs, and learns of the next."""
    folder.write("a.yaml")
    folder.write("b.yaml")
    with pytest.raises(ConfigError) as caught:
        folder.load("a.yaml", "b.yaml").preflight()
    assert [problem.file for problem in caught.value.problems] == ["a.yaml", "b.yaml"]


@pytest.mark.parametrize(
    ("classes", "part"),
    [
        ({"cat": 50, "dog": 50, "empty": 0}, "folders without images are no classes: empty"),
        ({"cat": 50, "dog": 2}, "fewer than 3 images are not in every split: dog"),
        ({"cat": 9, "dog": 9}, "a batch of 32 is more than the 14 images to train on"),
    ],
)
def test_a_doubtful_folder_is_a_warning(folder: Folder, images: Images, classes: dict[str, int], part: str) -> None:
    """The run goes on."""
    images(**classes)
    (warning,) = warnings(folder, SECTIONS)
    assert warning.startswith("a.yaml:2: data_preprocessing.image_dir: ")
    assert part in warning


def test_a_folder_of_several_configurations_is_told_once(folder: Folder, images: Images) -> None:
    """Ten of them are no reason to say it ten times."""
    images(cat=50, dog=50, empty=0)
    names = [folder.write(f"{name}.yaml") for name in "abc"]
    told = folder.load(*names).preflight()
    assert [one for one in told if "folders without images" in one] == [
        "a.yaml:2: data_preprocessing.image_dir: folders without images are no classes: empty"
    ]


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ("{train: 0.9, validation: 0.1}", ["no test split: no test accuracy at the end"]),
        ("{train: 0.9, test: 0.1}", ["no validation split: no validation accuracy"]),
        ("{train: 1}", ["no validation split", "no test split"]),
    ],
)
def test_a_split_that_is_left_out_is_a_warning(folder: Folder, images: Images, ratios: str, said: list[str]) -> None:
    """Its figures will be missing."""
    images(cat=50, dog=50)
    text = SECTIONS.replace("{train: 0.8, validation: 0.1, test: 0.1}", ratios)
    told = warnings(folder, text)
    assert len(told) == len(said)
    for line, part in zip(told, said, strict=True):
        assert line.startswith(f"a.yaml:4: data_preprocessing.split_ratios: {part}")


def test_images_are_known_by_name_or_content(images: Images) -> None:
    """Folders below a class count; hidden files, texts and named pipes do not."""
    root = images(cat=1)
    (root / "cat" / "more").mkdir()
    (root / "cat" / "more" / "b.JPEG").touch()
    (root / "cat" / "no_suffix").write_bytes(b"GIF89a....")
    (root / "cat" / "notes.txt").write_text("x")
    (root / "cat" / ".hidden.png").touch()
    os.mkfifo(root / "cat" / "pipe")
    (root / ".git").mkdir()
    assert count_images(root) == {"cat": 3}


def test_an_own_program_needs_no_images(folder: Folder) -> None:
    """A program that is found is enough."""
    assert warnings(folder, own("[sh, -c, 'exit 0']")) == []


@pytest.mark.parametrize(
    ("text", "line", "key", "part"),
    [
        (own("[no-such-program-here]"), 1, "command", "no-such-program-here is not found in PATH"),
        (own("[./train.sh]"), 1, "command", "./train.sh is not a program"),
        (own("[/tmp]"), 1, "command", "/tmp is not a program that can be run"),
        (own("[/proc/self/status]"), 1, "command", "/proc/self/status is not a program that can be run"),
        (own("[python3, train.py]"), 1, "command", "there is no file train.py"),
        (own("[sh]", "cwd: gone\n"), 2, "cwd", "there is no folder"),
        (own("[sh]", "env: {PATH: /nowhere}\n"), 1, "command", "not found in PATH"),
        (
            own("[sh]", "model_training: {checkpoint: {filepath: /dev/null/x.pt}}\n"),
            2,
            "model_training.checkpoint.filepath",
            "not a folder",
        ),
        (
            own("[sh]", "model_training: {checkpoint: {filepath: /proc/nope/x.pt}}\n"),
            2,
            "model_training.checkpoint.filepath",
            "cannot be written: /proc/nope: No such file or directory",
        ),
    ],
)
def test_a_program_that_cannot_start_is_told(folder: Folder, text: str, line: int, key: str, part: str) -> None:
    """Before it is tried."""
    (problem,) = problems(folder, text)
    assert (problem.line, problem.key) == (line, key)
    assert part in problem.message


def test_a_program_that_is_not_executable_gets_a_hint(folder: Folder) -> None:
    """The commonest reason has a command against it."""
    folder.write("train.sh", "#!/bin/sh\n")
    assert "chmod +x" in problems(folder, own("[./train.sh]"))[0].hint


@pytest.mark.parametrize("text", ["sh -c true && sh", "sh -c true>log", "sh -c true; sh", "sh a.sh &"])
def test_a_command_for_a_shell_is_a_warning(folder: Folder, text: str) -> None:
    """No shell runs it, and the program would get the operator as an argument."""
    (warning,) = warnings(folder, own(f"'{text}'"))
    assert warning.startswith("a.yaml:1: command: holds ")
    assert warning.endswith('; no shell is used; write [bash, -c, "..."]')


@pytest.mark.parametrize("text", ["[sh, -c, 'true && true']", "\"sh -c 'true && true'\"", "sh -c true\\ \\&\\&"])
def test_an_operator_in_quotes_is_no_warning(folder: Folder, text: str) -> None:
    """It is meant for the shell that is started."""
    assert warnings(folder, own(text)) == []


def test_a_word_of_a_shell_gets_a_hint(folder: Folder) -> None:
    """`gone` is no program, and the rest of the line says why somebody wrote it."""
    assert "no shell is used" in problems(folder, own("gone && sh"))[0].hint


MODEL = "model_training: {epochs: 4, model: 'MODEL'}\n" + SECTIONS.partition("model_training")[0]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nowhere:make", "there is no module nowhere"),
        ("nets.nowhere:make", "there is no module nets.nowhere"),
        ("plain.more:make", "there is no module plain.more"),
        ("plain:mak", "plain.py has no mak"),
        ("plain:print", "plain.py has no print"),
        ("broken:make", "broken.py:2 is no valid Python"),
    ],
)
def test_a_model_that_cannot_be_called_is_told(folder: Folder, images: Images, model: str, said: str) -> None:
    """Before anything starts, and without importing it."""
    images(cat=50, dog=50)
    folder.write("plain.py", "def make(shape, classes):\n    print()\n\n\nprint('imported')\n")
    folder.write("broken.py", "\ndef make(:\n")
    folder.write("nets/__init__.py", "")
    (problem,) = problems(folder, MODEL.replace("MODEL", model))
    assert (problem.file, problem.line, problem.key) == ("a.yaml", 1, "model_training.model")
    assert said in problem.message


@pytest.mark.parametrize(
    "model",
    ["plain:make", "plain:also", "plain:taken", "nets.small:make", "space.small:make", "anything:goes", "json:dumps"],
)
def test_a_model_that_is_there_passes(folder: Folder, images: Images, model: str) -> None:
    """Defined, assigned or imported, in a module or a package; where only importing could tell, nothing is said."""
    images(cat=50, dog=50)
    folder.write("plain.py", "from os import path as taken\nif taken:\n    def make(): pass\nalso = make\n")
    folder.write("nets/__init__.py", "")
    folder.write("nets/small.py", "def make(): pass\n")
    folder.write("space/small.py", "async def make(): pass\n")
    folder.write("anything.py", "from plain import *\n")
    assert warnings(folder, MODEL.replace("MODEL", model)) == []


def test_a_model_is_looked_for_where_the_process_will_look(folder: Folder, images: Images) -> None:
    """`env` may add folders."""
    images(cat=50, dog=50)
    folder.write("src/far.py", "def make(): pass\n")
    text = MODEL.replace("MODEL", "far:make")
    assert "no module far" in problems(folder, text)[0].message
    assert warnings(folder, f"{text}env: {{PYTHONPATH: src}}\n") == []


def test_a_script_is_looked_for_where_the_program_runs(folder: Folder) -> None:
    """In `cwd`, not where the run was typed."""
    folder.write("src/train.py", "")
    assert warnings(folder, own("[python3, train.py]", "cwd: src\n")) == []


def test_a_folder_for_runs_that_cannot_be_is_told(folder: Folder) -> None:
    """A file stands in its place."""
    folder.write("runs", "x")
    (problem,) = problems(folder, own("[sh]"))
    assert f"{folder.path}/runs is not a folder" in problem.message


def test_a_folder_that_must_be_made_first_is_writable(tmp_path: Path) -> None:
    """It is tried, and nothing of that is left."""
    assert unwritable(tmp_path / "a" / "b") == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_nothing_can_be_made_in_is_told(folder: Folder) -> None:
    """Root may write anywhere, and still not there."""
    folder.write("a.yaml", own("[sh]"))
    with pytest.raises(ConfigError) as caught:
        folder.load("a.yaml").preflight(Path("/proc/x"))
    told = "the folder for runs cannot be written: /proc/x: No such file or directory"
    assert [problem.message for problem in caught.value.problems] == [told]


def test_a_full_disk_stops_the_run() -> None:
    """A training that cannot save its model is lost."""
    problem, warning = space_left(15 * MIB, Path("/runs"))
    assert problem is not None
    assert (problem.message, warning) == ("only 15MiB are free on the disk of /runs", None)


def test_a_nearly_full_disk_is_a_warning() -> None:
    """It may be enough."""
    assert space_left(16 * MIB, Path("/runs")) == (None, "only 16MiB are free on the disk of /runs")


def test_an_empty_disk_is_fine() -> None:
    """Nothing is said."""
    assert space_left(50 * GIB, Path("/runs")) == (None, None)


TABLE = """\
data_preprocessing:
  train_data_path: t.csv
  target_column: y
  feature_columns: [size, Weight]
model_training: {epochs: 1}
"""


def test_a_good_table_passes(folder: Folder) -> None:
    """Whatever separates its columns."""
    folder.write("t.csv", "size;Weight;y\n1;2;a\n")
    assert warnings(folder, TABLE) == []


@pytest.mark.parametrize(
    ("header", "line", "key", "message", "hint"),
    [
        ("size,Weight,z\n", 3, "target_column", "t.csv: there is no column 'y'", "there are size, Weight, z"),
        ("size,weight,y\n", 4, "feature_columns[1]", "t.csv: there is no column 'Weight'", "did you mean 'weight'?"),
        ("size Weight y\n", 3, "target_column", "one column", "separate columns by a comma"),
        ("size,size,y\n", 2, "train_data_path", "t.csv:1: names the column 'size' twice", "rename one"),
        ("", 2, "train_data_path", "t.csv: is empty", "names its columns"),
    ],
)
def test_a_table_without_its_columns_is_told(
    folder: Folder, header: str, line: int, key: str, message: str, hint: str
) -> None:
    """By the line of the configuration that names what is not there, with what was probably meant."""
    folder.write("t.csv", header)
    problem = problems(folder, TABLE)[0]
    assert (problem.line, problem.key) == (line, f"data_preprocessing.{key}")
    assert message in problem.message
    assert hint in problem.hint


def test_a_table_that_is_not_there_is_told(folder: Folder) -> None:
    """Both of them are looked for."""
    folder.write("t.csv", "size,Weight,y\n")
    (problem,) = problems(folder, TABLE.replace("model_", "  test_data_path: u.csv\nmodel_"))
    assert (problem.key, problem.message) == (
        "data_preprocessing.test_data_path",
        f"{folder.path}/u.csv: there is no such file",
    )
