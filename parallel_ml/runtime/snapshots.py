"""Which code each job of a new run runs from: the checkout's, what is named, or that of the script's own folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_ml.config.fields import located
from parallel_ml.config.manager import LoadedConfig
from parallel_ml.runtime.checkout import find_checkout, listed_files
from parallel_ml.runtime.program import Program, ProgramKind, read_command
from parallel_ml.runtime.snapshot import MOST_DATA_FILES, Snapshot, TooMuch, is_code, take_snapshot

MAX_TREE_FILES = 2000
"""Files of code in a folder that is no checkout, and as many other texts."""
_MAX_TEXT_BYTES = 1024 * 1024
_SNIFFED_BYTES = 8000
_MAX_LOOKED_AT = 20_000
_HINT = "name what belongs to it (code: [src, train.py]), or say code: false"
_SCRIPTS = (".jl", ".js", ".pl", ".py", ".r", ".rb", ".sh")
_WORDS = re.compile(r"[^\w./~+-]+")
_TRAINING = Program(ProgramKind.MODULE, "parallel_ml.training")
_NOT_MINE = ("/usr/", "/opt/conda/", f"{sys.prefix}/", f"{sys.base_prefix}/")


@dataclass(frozen=True)
class _Wanted:
    """A snapshot to take: `names` of `base`."""

    base: Path
    names: tuple[str, ...]
    checkout: bool = False
    note: str = ""


class CodeTaker:
    """Takes each snapshot once, however many jobs run from it.

    Attributes:
        notes: What a user should know, one line each.
        entries: What `run.json` says of each snapshot.
    """

    def __init__(self, folder: Path, *, apart: Path, private: Collection[str] = ()) -> None:
        """Take snapshots into `folder`.

        Args:
            folder: `code` in the folder of the run that is being made.
            apart: The folder of runs.
            private: The real paths of configurations that hold secrets.
        """
        self._folder, self._apart, self._private = folder, apart.resolve(), private
        self.notes: list[str] = []
        self.entries: list[dict[str, Any]] = []
        self._taken: dict[_Wanted, int | None] = {}
        self._trees: dict[tuple[Path, Path, Path], _Wanted] = {}
        self._checkouts: dict[Path, Path | None] = {}
        self._listed: dict[Path, tuple[str, ...] | None] = {}

    def take(self, job: LoadedConfig) -> int | None:
        """Return the number of the snapshot that a job runs from; None where nothing is the user's, or too much.

        Raises:
            StoreError: It could not be written.
        """
        if job.config.code is False:
            return None
        cwd = located(job.config.cwd or ".", job.cwd).resolve()
        program = _program(job, cwd)
        if program is None or program.kind in (ProgramKind.SHELL, ProgramKind.OTHER):
            self._say_what_is_not_pinned(job, program, cwd)
            return None
        try:
            wanted = self._wanted(job, program, cwd)
        except TooMuch as error:
            self._note(job, f"its code is not pinned, there is too much of it ({error}); {_HINT}")
            return None
        if wanted is None or not wanted.names:
            return None
        if program.word.endswith(".sh") and program.kind is not ProgramKind.MODULE:
            self._note(job, f"what {program.word} itself starts by relative paths is not pinned")
        if wanted not in self._taken:
            self._taken[wanted] = self._take(job, wanted)
        return self._taken[wanted]

    def _take(self, job: LoadedConfig, wanted: _Wanted) -> int | None:
        number = len(self.entries)
        into = self._folder / str(number)
        try:
            snapshot = take_snapshot(wanted.base, wanted.names, into, apart=self._apart, private=self._private)
        except TooMuch as error:
            shutil.rmtree(into, ignore_errors=True)
            self._note(job, f"its code is not pinned, there is too much of it ({error}); {_HINT}")
            return None
        if wanted.note:
            self._note(job, wanted.note)
        self.entries.append(
            {**entry(snapshot, self._folder.parent), "top": str(wanted.base) if wanted.checkout else None}
        )
        return number

    def _wanted(self, job: LoadedConfig, program: Program, cwd: Path) -> _Wanted | None:
        by_file = program.kind in (ProgramKind.SCRIPT, ProgramKind.FILE)
        path = _real(cwd / os.path.expanduser(program.word)) if by_file else cwd
        if by_file and (not path.exists() or "{" in program.word):
            return None
        folder = path.parent if path.is_file() else path
        if isinstance(job.config.code, list):
            return _named(job.config.code, job.cwd.resolve())
        top = self._checkout(folder)
        listed = self._files(top) if top is not None else None
        if top is not None and listed is not None:
            inside = os.path.relpath(path, top)
            if inside == "." or inside in listed or any(name.startswith(f"{inside}/") for name in listed):
                return _Wanted(top, listed, checkout=True)
        if by_file and str(path).startswith(_NOT_MINE):
            return None
        if program.kind is ProgramKind.FILE and not path.is_relative_to(cwd):
            return None
        asked = path, folder, cwd if folder.is_relative_to(cwd) else folder
        if asked not in self._trees:
            self._trees[asked] = _tree(*asked, self._apart)
        return self._trees[asked]

    def _checkout(self, folder: Path) -> Path | None:
        if folder not in self._checkouts:
            self._checkouts[folder] = find_checkout(folder)
        return self._checkouts[folder]

    def _files(self, top: Path) -> tuple[str, ...] | None:
        if top not in self._listed:
            found = listed_files(top)
            self._listed[top] = None if found is None else tuple(found)
        return self._listed[top]

    def _say_what_is_not_pinned(self, job: LoadedConfig, program: Program | None, cwd: Path) -> None:
        if program is None:
            return
        words = _WORDS.split(program.word) if program.kind is ProgramKind.SHELL else program.after
        for word in words:
            if word.lower().endswith(_SCRIPTS) and (cwd / word).is_file():
                how = "a shell's text" if program.kind is ProgramKind.SHELL else os.path.basename(program.word)
                told = f"its code is not pinned: {word} is started by {how}"
                self._note(job, f"{told}; write command: [python, {word}] to run it as it is now")
                return
        if program.kind is ProgramKind.SHELL and re.search(r"\bpython[\d.]*\s+-m\b", program.word):
            self._note(job, "its code is not pinned: a shell's text starts it; write command: [python, -m, ...]")

    def _note(self, job: LoadedConfig, text: str) -> None:
        self.notes.append(f"{job.name}: {text}")


def entry(snapshot: Snapshot, run: Path) -> dict[str, Any]:
    """Return what `run.json` says of a snapshot."""
    return {
        "root": str(snapshot.root),
        "tree": str(snapshot.tree.relative_to(run)),
        "digest": snapshot.digest,
        "files": snapshot.files,
        "bytes": snapshot.size_bytes,
    }


def _program(job: LoadedConfig, cwd: Path) -> Program | None:
    """Return the program of a job that may be the user's; None for the built-in training of a built-in model."""
    if job.config.command is not None:
        return read_command(job.config.command, lambda word: _is_own_file(word, cwd))
    training = job.config.model_training
    named = (training and (training.model_type or training.model)) or ""
    return _TRAINING if ":" in named else None


def _is_own_file(word: str, cwd: Path) -> bool:
    """Say whether a word is a path to a file; a bare name is one only where it is called like a script."""
    return ("/" in word or word.lower().endswith(_SCRIPTS)) and (cwd / os.path.expanduser(word)).is_file()


def _real(path: Path) -> Path:
    """Return a path without links in its folder; the file itself may be one."""
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()


def _named(names: list[str], cwd: Path) -> _Wanted | None:
    """Return the files and folders that a configuration names."""
    paths = [located(name, cwd).resolve() for name in names]
    base = cwd if all(path.is_relative_to(cwd) for path in paths) else Path(os.path.commonpath([cwd, *paths]))
    found: dict[str, None] = {}
    for path in paths:
        for file in [str(path)] if path.is_file() else _walk(path, None):
            found[os.path.relpath(file, base)] = None
    return _Wanted(base, tuple(found))


def _tree(path: Path, folder: Path, base: Path, apart: Path) -> _Wanted:
    """Return a program, the code and the small texts of its folder and of those below it; the nearest if too many."""
    found = {str(path): None} if path.is_file() else {}
    texts: list[str] = []
    anybodys, too_much = _is_anybodys(folder), ""
    try:
        for files in [_listed_here(folder)] if anybodys else _folders(folder, apart):
            found |= {file: None for file in files if is_code(file)}
            texts += [] if anybodys else _texts(files, MAX_TREE_FILES - len(texts))
            if len(found) > MAX_TREE_FILES:
                too_much = f"more than {MAX_TREE_FILES:,} files of code in {folder}, which is no git checkout"
                break
    except TooMuch as error:
        too_much = str(error)
    names = dict.fromkeys(os.path.relpath(file, base) for file in [*list(found)[:MAX_TREE_FILES], *texts])
    note = f"only the code nearest to it is pinned ({too_much}); {_HINT}" if too_much else ""
    return _Wanted(base, tuple(names), note=note)


def _texts(files: list[str], most: int) -> list[str]:
    """Return the small texts among the files of a folder that are no code; of a folder full of data none."""
    others = [file for file in files if not is_code(file)]
    if len(others) > MOST_DATA_FILES:
        return []
    return [file for file in others if not file.endswith(".log") and _is_small_text(file)][:most]


def _is_small_text(file: str) -> bool:
    with contextlib.suppress(OSError):
        told = os.stat(file)
        if stat.S_ISREG(told.st_mode) and told.st_size <= _MAX_TEXT_BYTES:
            with open(file, "rb") as stream:
                return b"\0" not in stream.read(_SNIFFED_BYTES)
    return False


def _is_anybodys(folder: Path) -> bool:
    """Say whether a folder holds all kinds of things: a home, or one such as /tmp."""
    return str(folder) == os.path.expanduser("~") or bool(folder.stat().st_mode & stat.S_ISVTX)


def _listed_here(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if entry.is_file())


def _walk(top: Path, apart: Path | None) -> Iterator[str]:
    """Yield the files below a folder; those of environments, caches and runs are nobody's code."""
    for files in _folders(top, apart):
        yield from files


def _folders(top: Path, apart: Path | None) -> Iterator[list[str]]:
    """Yield the files of a folder and of each below it, the nearest first.

    Raises:
        TooMuch: There are too many; those of the folders until then were yielded.
    """
    waiting, looked_at = deque([str(top)]), 0
    while waiting:
        files, below = _entries(waiting.popleft(), apart)
        yield files
        waiting += below
        looked_at += len(files) + len(below)
        if looked_at > _MAX_LOOKED_AT:
            raise TooMuch(f"more than {_MAX_LOOKED_AT:,} files in {top}, which is no git checkout")


def _entries(folder: str, apart: Path | None) -> tuple[list[str], list[str]]:
    """Return the files of a folder, and its folders that may hold code."""
    files, below = [], []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                files.append(entry.path)
            elif not (entry.is_symlink() or _is_no_code(entry.name) or entry.path == str(apart)):
                below.append(entry.path)
    return sorted(files), sorted(one for one in below if not os.path.exists(f"{one}/pyvenv.cfg"))


def _is_no_code(folder: str) -> bool:
    return folder.startswith(".") or folder in ("__pycache__", "node_modules", "site-packages")
