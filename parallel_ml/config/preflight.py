"""A quick look at the machine before any training: what would fail in an hour is said now.

Images are counted, never decoded, and of a table the header is read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parallel_ml.config.fields import located
from parallel_ml.config.loaded import LoadedConfig
from parallel_ml.config.programs import command_problems, model_problems
from parallel_ml.config.table_files import table_problems
from parallel_ml.core.units import GIB, MIB, format_size
from parallel_ml.errors import ConfigProblem

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib"})
LEAST_FREE_BYTES = 16 * MIB
LITTLE_FREE_BYTES = GIB
_MOST_NAMED = 5
_TRIES = 3
# The first bytes of PNG, JPEG, GIF and BMP files: the training knows an image by them, whatever it is called.
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM")
_IMAGE_DIR = ("data_preprocessing", "image_dir")
_FILEPATH = ("model_training", "checkpoint", "filepath")


@dataclass
class Findings:
    """What was found: problems stop the run, warnings do not.

    Attributes:
        counted: Each image folder's images by class, or what is wrong with it: a folder is looked at once.
        said: What was said of which folder already, by way of another configuration.
    """

    problems: list[ConfigProblem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    counted: dict[Path, dict[str, int] | str] = field(default_factory=dict)
    said: set[tuple[Path, str]] = field(default_factory=set)


def look_at(jobs: Sequence[LoadedConfig], runs_dir: Path) -> Findings:
    """Return what stands in the way of these jobs on this machine.

    Args:
        jobs: The configurations of a run.
        runs_dir: The folder that the run's own folder will be made in.
    """
    findings = Findings()
    for job in jobs:
        findings.warnings += job.warnings
        if job.config.built_in:
            _look_at_images(job, findings)
            findings.problems += table_problems(job)
            findings.problems += model_problems(job)
        else:
            findings.problems += command_problems(job)
        findings.problems += _checkpoint_problems(job)
    _look_at_runs_dir(runs_dir, findings)
    return findings


def count_images(folder: Path) -> dict[str, int]:
    """Return the number of image files in each class's folder, those below it included; hidden names do not count.

    Raises:
        OSError: A folder cannot be read.
    """
    with os.scandir(folder) as entries:
        classes = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return {name: _images_below(folder / name) for name in classes}


def _images_below(folder: Path) -> int:
    total = 0
    for root, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        total += sum(1 for name in files if not name.startswith(".") and _is_image(root, name))
    return total


def _is_image(folder: str, name: str) -> bool:
    if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122 - a Path for each of a million names is slow
        return True
    path = Path(folder, name)
    # Opening a named pipe would wait for its other end.
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8).startswith(_MAGIC)


def _raise(error: OSError) -> None:
    raise error


def _look_at_images(job: LoadedConfig, findings: Findings) -> None:
    data = job.config.data_preprocessing
    if data is None or data.image_dir is None:
        return
    folder = located(data.image_dir, job.cwd)
    if folder not in findings.counted:
        findings.counted[folder] = _counted(folder)
    found = findings.counted[folder]
    splits = sum(1 for share in data.split_ratios.model_dump().values() if share > 0)
    message = found if isinstance(found, str) else _too_little(found, splits)
    if message:
        text, _, hint = message.partition("; ")
        findings.problems.append(job.problem(_IMAGE_DIR, text, hint))
    elif not isinstance(found, str):
        for text in _doubts(found, splits, data.split_ratios.train, data.batch_size):
            if (folder, text) not in findings.said:
                findings.said.add((folder, text))
                findings.warnings.append(str(job.problem(_IMAGE_DIR, text)))


def _counted(folder: Path) -> dict[str, int] | str:
    """Return the images of each class, or what is wrong with the folder."""
    try:
        if not folder.exists():
            return f"there is no folder {folder}; paths are relative to the folder where run is typed"
        if not folder.is_dir():
            return f"{folder} is not a folder"
        return count_images(folder)
    except OSError as error:
        return f"{error.filename or folder} cannot be read: {error.strerror}"


def _too_little(counted: dict[str, int], splits: int) -> str:
    """Return why these images cannot be trained on, or ""."""
    filled = [name for name, count in counted.items() if count]
    if not filled:
        return "holds no images in class folders; make one folder for each class, with PNG, JPEG, GIF or BMP files"
    if len(filled) < 2:
        return f"holds images of one class alone ({filled[0]}); a classification needs at least 2 class folders"
    if max(counted.values()) < splits:
        return f"holds {sum(counted.values())} images; at least one class needs {splits}, one for each split"
    return ""


def _doubts(counted: dict[str, int], splits: int, train_share: float, batch_size: int) -> Iterator[str]:
    empty = [name for name, count in counted.items() if not count]
    if empty:
        yield f"folders without images are no classes: {_named(empty)}"
    few = [name for name, count in counted.items() if 0 < count < splits]
    if few:
        yield f"classes with fewer than {splits} images are not in every split: {_named(few)}"
    training = int(sum(counted.values()) * train_share)
    if batch_size > training:
        yield f"a batch of {batch_size} is more than the {training} images to train on"


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _checkpoint_problems(job: LoadedConfig) -> Iterator[ConfigProblem]:
    training = job.config.model_training
    if training is None:
        return
    path = located(training.checkpoint.filepath, Path())
    if path.is_absolute() and (reason := unwritable(path.parent)):
        yield job.problem(_FILEPATH, f"cannot be written: {reason}")


def unwritable(folder: Path) -> str:
    """Return why no file can be made in a folder that may have to be made first, or "".

    It is tried: permissions alone say nothing of /proc, of a full disk or of a share that is read-only. Nothing of it
    is left, neither the file nor a folder.
    """
    reason = ""
    for _ in range(_TRIES):  # another run that tries the same may have cleaned up beneath us
        try:
            return _try_to_write(folder)
        except FileNotFoundError as error:
            reason = f"{folder}: {error.strerror}"
        except OSError as error:
            return f"{folder}: {error.strerror}"
    return reason


def _try_to_write(folder: Path) -> str:
    missing = []
    while not folder.exists() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is not a folder"
    made: list[Path] = []
    try:
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            made.append(path)
        with tempfile.NamedTemporaryFile(dir=missing[0] if missing else folder, prefix=".parallel-ml-"):
            return ""
    finally:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # another run uses it by now
                path.rmdir()


def _look_at_runs_dir(runs_dir: Path, findings: Findings) -> None:
    reason = unwritable(runs_dir)
    if reason:
        message = f"the folder for runs cannot be written: {reason}"
        findings.problems.append(ConfigProblem(None, None, "", message, "choose another with --runs-dir"))
        return
    there = runs_dir
    while not there.exists():
        there = there.parent
    problem, warning = space_left(shutil.disk_usage(there).free, runs_dir)
    findings.problems += [problem] if problem else []
    findings.warnings += [warning] if warning else []


def space_left(free_bytes: int, runs_dir: Path) -> tuple[ConfigProblem | None, str | None]:
    """Return the problem or the warning of a disk with this much room."""
    told = f"{format_size(free_bytes)} are free on the disk of {runs_dir}"
    if free_bytes < LEAST_FREE_BYTES:
        hint = f"free at least {format_size(LEAST_FREE_BYTES)}, or choose another disk with --runs-dir"
        return ConfigProblem(None, None, "", f"only {told}", hint), None
    return None, f"only {told}" if free_bytes < LITTLE_FREE_BYTES else None
