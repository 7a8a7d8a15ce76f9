"""Which code each job of a new run runs from: the checkout's, what is named, or that of the script's own folder."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_ml.config.fields import located
from parallel_ml.config.manager import LoadedConfig
from parallel_ml.runtime.checkout import find_checkout, listed_files
from parallel_ml.runtime.program import Program, ProgramKind, read_command
from parallel_ml.runtime.snapshot import Snapshot, TooMuch, take_snapshot

MAX_TREE_FILES = 2000
"""Python files of a folder that is no checkout."""
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


class CodeTaker:
    """Takes each snapshot once, however many jobs run from it.

    Attributes:
        notes: What a user should know, one line each.
        entries: What `run.json` says of each snapshot.
    """

    def __init__(self, folder: Path, *, apart: Path) -> None:
        """Take snapshots into `folder`.

        Args:
            folder: `code` in the folder of the run that is being made.
            apart: The folder of runs.
        """
        self._folder, self._apart = folder, apart.resolve()
        self.notes: list[str] = []
        self.entries: list[dict[str, Any]] = []
        self._taken: dict[_Wanted, int | None] = {}
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
            snapshot = take_snapshot(wanted.base, wanted.names, into, apart=self._apart)
        except TooMuch as error:
            shutil.rmtree(into, ignore_errors=True)
            self._note(job, f"its code is not pinned, there is too much of it ({error}); {_HINT}")
            return None
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
        return _tree(path, folder, cwd if folder.is_relative_to(cwd) else folder, self._apart)

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
    """Return a program and the Python files of its folder and of those below it."""
    found = {os.path.relpath(path, base): None} if path.is_file() else {}
    for file in _listed_here(folder) if _is_anybodys(folder) else _walk(folder, apart):
        if file.endswith(".py"):
            found[os.path.relpath(file, base)] = None
            if len(found) > MAX_TREE_FILES:
                raise TooMuch(f"more than {MAX_TREE_FILES:,} Python files in {folder}, which is no git checkout")
    return _Wanted(base, tuple(found))


def _is_anybodys(folder: Path) -> bool:
    """Say whether a folder holds all kinds of things: a home, or one such as /tmp."""
    return str(folder) == os.path.expanduser("~") or bool(folder.stat().st_mode & stat.S_ISVTX)


def _listed_here(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.path for entry in entries if entry.is_file())


def _walk(top: Path, apart: Path | None) -> Iterator[str]:
    """Yield the files below a folder; those of environments, caches and runs are nobody's code."""
    looked_at = 0
    for folder, below, files in os.walk(top):
        below[:] = [
            name
            for name in below
            if not name.startswith(".") and name not in ("__pycache__", "node_modules", "site-packages")
            if not os.path.exists(f"{folder}/{name}/pyvenv.cfg") and f"{folder}/{name}" != str(apart)
        ]
        looked_at += len(files) + len(below)
        if looked_at > _MAX_LOOKED_AT:
            raise TooMuch(f"more than {_MAX_LOOKED_AT:,} files in {top}, which is no git checkout")
        for name in files:
            yield f"{folder}/{name}"
