"""Copying the user's code into a run: small files are copied, everything else is linked to where it is.

A snapshot stands for a folder, the base. Each folder of it that holds a copied file is a folder of the snapshot, with a
link for every other entry, so that `Path(__file__).parent / "data"` leads where it did. Beside it stand links to what
is beside the base, for paths that climb out of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parallel_ml.errors import StoreError
from parallel_ml.runtime.secret_files import is_secret_name, may_configure, names_channels
from parallel_ml.store.files import free_bytes, make_dir, read_json, store_errors, write_json

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_TOTAL_BYTES = 200 * 1024 * 1024
MAX_FILES = 10_000
MAX_LINKS = 50_000
MOST_DATA_FILES = 100
"""A folder with more files that are no code than this holds data: they are linked."""
_MOST_SIBLINGS = 256
_MOST_LISTED = 1000
_CODE = frozenset(
    (".c", ".cc", ".cfg", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".ini", ".ipynb", ".jl", ".js", ".lua", ".m")
) | {".pl", ".proto", ".py", ".pyi", ".pyx", ".r", ".rb", ".rs", ".sh", ".toml", ".ts", ".yaml", ".yml"}
_NEVER = frozenset((".git", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"))


class TooMuch(Exception):
    """There is more than a snapshot takes; the text says what."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on disk.

    Attributes:
        root: What it stands for, as it was: the folder's real path.
        tree: Where it is.
        digest: A hash over the names and contents of the copied files.
    """

    root: Path
    tree: Path
    digest: str
    files: int
    size_bytes: int


@dataclass
class _Copied:
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0


def is_code(name: str) -> bool:
    """Say whether a file is code, or configures it, by its name."""
    return os.path.splitext(name)[1].lower() in _CODE


def take_snapshot(
    base: Path, names: Sequence[str], into: Path, *, apart: Path, private: Collection[str] = ()
) -> Snapshot:
    """Copy files of `base` into a new folder, and link the rest.

    Args:
        base: A real path, without links in it.
        names: The files, relative to the base, those first that must be in it.
        into: A folder that does not exist; the tree becomes a folder in it, called as the base is.
        apart: The folder of runs: it is neither copied nor linked.
        private: The real paths of files that hold secrets, whatever they look like.

    Raises:
        TooMuch: There are more files or links than a snapshot takes.
        StoreError: It could not be written.
    """
    tree = into / (base.name or "root")
    make_dir(into.parent, mode=0o700)
    with store_errors(into, "copying code"):
        into.mkdir(mode=0o700)
        tree.mkdir()
        copier = _Copier(base, tree, private)
        for name in _without(names, base, apart):
            copier.copy(name)
        copied = copier.done
        _link_rest(base, tree, copied, apart)
        _link_siblings(base, into, apart)
    snapshot = Snapshot(base, tree, _digest(copied), len(copied.files), copied.size_bytes)
    left = dict(list(copied.left.items())[:_MOST_LISTED])
    record = {"v": 1, "root": str(base), "digest": snapshot.digest, "bytes": copied.size_bytes, "left_out": left}
    write_json(_record(into), {**record, "files": copied.files, "links": copied.links}, mode=0o600)
    return snapshot


def copy_snapshot(old: Path, into: Path) -> tuple[Snapshot, list[str]]:
    """Copy a snapshot of another run; return it, and the copied files that have been changed in there since.

    Raises:
        StoreError: It is not there any more, or cannot be written.
    """
    record = read_json(_record(old))
    if not isinstance(record, dict) or record.get("v") != 1:
        raise StoreError(_record(old), "reading code", "it is not there, or not of this version")
    base, changed = Path(record["root"]), []
    tree = into / (base.name or "root")
    make_dir(into.parent, mode=0o700)
    with store_errors(old, "copying code"):
        into.mkdir(mode=0o700)
        tree.mkdir()
        for name, (_, digest) in record["files"].items():
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if _write(*_read(str(old / tree.name / name)), str(target))[1] != digest:
                changed.append(name)
        for name, target_text in record["links"].items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(target_text, tree / name)
    _link_siblings(base, into, into)
    write_json(_record(into), record, mode=0o600)
    return Snapshot(base, tree, record["digest"], len(record["files"]), record["bytes"]), changed


def _record(folder: Path) -> Path:
    """Return the file that lists what is in a snapshot: beside it."""
    return folder.with_name(f"{folder.name}.json")


def _digest(copied: _Copied) -> str:
    lines = (f"{name}\0{digest}\n" for name, (_, digest) in sorted(copied.files.items()))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _without(names: Sequence[str], base: Path, apart: Path) -> list[str]:
    """Return the names without those of runs, and of data that nobody would call code; code before what is not."""
    runs = f"{os.path.relpath(apart, base)}/"
    code, others = [], []
    full: dict[str, int] = {}
    for name in names:
        if name.startswith(runs) or not _NEVER.isdisjoint(name.split("/")):
            continue
        if is_code(name):
            code.append(name)
        else:
            folder = name.rpartition("/")[0]
            full[folder] = full.get(folder, 0) + 1
            others.append((folder, name))
    if len(code) > MAX_FILES:
        raise TooMuch(f"more than {MAX_FILES:,} files")
    return [*code, *(name for folder, name in others if full[folder] <= MOST_DATA_FILES)][:MAX_FILES]


class _Copier:
    """Copies files one by one and keeps count."""

    def __init__(self, base: Path, tree: Path, private: Collection[str]) -> None:
        self.base, self.tree, self.done = str(base), str(tree), _Copied()
        self._private = private
        self._folders = {""}
        self._room = min(MAX_TOTAL_BYTES, free_bytes(tree) // 4)

    def copy(self, name: str) -> None:
        """Copy a file, or say why it is left out; one that went away in this moment is none."""
        if name in self.done.files or name in self.done.links:
            return
        try:
            reason = self._copy(name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except PermissionError:
            reason = "cannot be read"
        if reason:
            self.done.left[name] = reason

    def _copy(self, name: str) -> str:
        path, done = f"{self.base}/{name}", self.done
        told = os.lstat(path)
        if stat.S_ISLNK(told.st_mode):
            self._copy_link(name)
        elif not stat.S_ISREG(told.st_mode):
            return "not a regular file"
        elif is_secret_name(name) or path in self._private:
            return "may hold a secret"
        elif told.st_size > MAX_FILE_BYTES:
            return "large"
        elif done.size_bytes + told.st_size > self._room:
            return "beyond the total of a snapshot"
        else:
            data, told = _read(path)
            if may_configure(name) and names_channels(data):
                return "has notifications"
            done.files[name] = _write(data, told, self._target(name))
            done.size_bytes += len(data)
        return ""

    def _copy_link(self, name: str) -> None:
        """Copy a link: within the base as it is, so that it stays within the snapshot; else to where it leads."""
        path = f"{self.base}/{name}"
        written = os.readlink(path)
        leads = os.path.normpath(os.path.join(os.path.dirname(path), written))
        inside = not os.path.isabs(written) and leads.startswith(f"{self.base}/")
        self.done.links[name] = written if inside else leads
        os.symlink(self.done.links[name], self._target(name))

    def _target(self, name: str) -> str:
        """Return where a file goes, its folder made."""
        folder = os.path.dirname(name)
        if folder not in self._folders:
            os.makedirs(f"{self.tree}/{folder}", exist_ok=True)
            self._folders.add(folder)
        return f"{self.tree}/{name}"


def _read(source: str) -> tuple[bytes, os.stat_result]:
    """Return a file's contents, and what the system says of it."""
    handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        told = os.fstat(handle)
        parts = []
        while part := os.read(handle, max(told.st_size + 1, 4096)):
            parts.append(part)
    finally:
        os.close(handle)
    return b"".join(parts), told


def _write(data: bytes, told: os.stat_result, target: str) -> tuple[int, str]:
    """Write a copy with its times and its mode, less what others may write; return its size and hash."""
    mode = (stat.S_IMODE(told.st_mode) & 0o755) | 0o600
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        written = 0
        while written < len(data):
            written += os.write(handle, data[written:] if written else data)
        os.utime(handle, ns=(told.st_atime_ns, told.st_mtime_ns))
    finally:
        os.close(handle)
    return len(data), hashlib.sha256(data).hexdigest()


def _link_rest(base: Path, tree: Path, copied: _Copied, apart: Path) -> None:
    """Link every entry of the copied folders that is not in the snapshot."""
    folders = {""}
    for name in (*copied.files, *copied.links, *_above(apart, base)):
        folder = os.path.dirname(name)
        while folder not in folders:
            folders.add(folder)
            folder = os.path.dirname(folder)
    for folder in sorted(folders):
        os.makedirs(tree / folder, exist_ok=True)
        with contextlib.suppress(FileNotFoundError, PermissionError), os.scandir(base / folder) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                known = name in copied.files or name in copied.links or name in folders
                if known or entry.name in _NEVER or entry.path == str(apart):
                    continue
                os.symlink(entry.path, tree / name)
                copied.links[name] = entry.path
                if len(copied.links) > MAX_LINKS:
                    raise TooMuch(f"more than {MAX_LINKS:,} files beside the code")


def _above(apart: Path, base: Path) -> list[str]:
    """Return the folder of runs, relative to the base, where it lies below it: no link may lead around to it."""
    return [str(apart.relative_to(base))] if apart != base and apart.is_relative_to(base) else []


def _link_siblings(base: Path, into: Path, apart: Path) -> None:
    """Link what is beside the base, unless that is a home, the root, or too much."""
    parent = base.parent
    if parent in (base, Path(os.path.expanduser("~")), Path(parent.anchor)):
        return
    with contextlib.suppress(OSError):
        entries = sorted(os.listdir(parent))
        for name in entries if len(entries) <= _MOST_SIBLINGS else ():
            if name != base.name and not name.startswith(".") and not apart.is_relative_to(parent / name):
                os.symlink(parent / name, into / name)
