"""Where runs live, and which one is meant: the runs folder, and the per-user index of runs in all folders."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import time
from functools import cached_property

from parallel_ml.errors import StoreError, UsageError
from parallel_ml.store.files import read_json
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.state_folder import state_folder, state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

_INDEX = "runs.jsonl"
_INDEX_PATIENCE_S = 1.0
_RUN_ID = r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}"


class RunsFolder:
    """A folder of runs.

    Attributes:
        root: The folder, as text.
        chosen: Whether somebody named it; else it is `./runs`, and the per-user index is asked as well.
    """

    def __init__(self, path: Path | str, *, chosen: bool) -> None:
        """Take the folder; as text it is one that `str` gives of a `Path`."""
        self.root, self.chosen = os.fspath(path), chosen

    @cached_property
    def path(self) -> Path:
        """The folder."""
        from pathlib import Path  # noqa: PLC0415 - a verb that reads little does not load it

        return Path(self.root)

    def layout(self, run_id: str) -> RunLayout:
        """Return where a run of this folder is."""
        return RunLayout(f"{self.root}/{run_id}")

    def run_ids(self) -> list[str]:
        """Return the ids of the runs in here, oldest first; what is left of one that lost its events is there too."""
        with contextlib.suppress(OSError):
            paths = {name: f"{self.root}/{name}" for name in os.listdir(self.root) if not name.startswith(".")}
            return sorted(name for name, path in paths.items() if _is_run(path) or _was_run(path))
        return []


def runs_folder(explicit: str | Path | None, environ: Mapping[str, str], cwd: Path | str) -> RunsFolder:
    """Return the folder that is meant: the given one, else `$PARALLEL_ML_RUNS`, else `./runs`."""
    named = explicit or environ.get("PARALLEL_ML_RUNS")
    if named:
        try:
            return RunsFolder(_resolved(cwd, os.fspath(named)), chosen=True)
        except (RuntimeError, ValueError, OSError) as error:  # no such user behind ~, a loop of links, a null byte
            raise UsageError(f"the runs folder {str(named)!r} cannot be used: {error}") from error
    return RunsFolder(_resolved(cwd, "runs"), chosen=False)


def _resolved(cwd: Path | str, named: str) -> str:
    """Return a folder's absolute path without links, as `Path.resolve` has it."""
    if named.startswith("~"):
        from pathlib import Path  # noqa: PLC0415 - the shell knows what ~ is in nearly all cases

        named = str(Path(named).expanduser())
    found = os.path.realpath(os.path.join(cwd, named))
    try:
        os.stat(found)
    except OSError as error:  # a folder that is not there yet is fine
        if error.errno == errno.ELOOP:
            raise
    return found


def find_run(folder: RunsFolder, wanted: str | None, environ: Mapping[str, str]) -> RunLayout:
    """Return the run that is meant: by id, beginning of an id, name or directory; the newest where none is named.

    Raises:
        UsageError: There is none, or several fit.
    """
    if wanted and ("/" in wanted or wanted in (".", "..")):
        return _run_at(wanted)
    if wanted is None:
        newest = next(iter(run_layouts(folder, environ)), None)
        if newest is None:
            raise UsageError(f"no runs in {folder.root}", "start one with: parallel-ml run CONFIG...")
        return newest
    fits = [one for one in run_layouts(folder, environ, damaged=True) if _id_of(one).startswith(wanted)]
    exact = [layout for layout in fits if _id_of(layout) == wanted]
    if len(exact or fits) == 1:
        return (exact or fits)[0]
    if fits:
        raise UsageError(f"{wanted} fits {len(fits)} runs", "give more of the id; parallel-ml list shows them")
    for layout in run_layouts(folder, environ):
        if _name_of(layout) == wanted:
            return layout
    if _is_run(wanted) and not os.path.islink(wanted):
        return _run_at(wanted)
    raise UsageError(f"no run {wanted} in {folder.root}", "parallel-ml list shows the runs")


def find_only_run(folder: RunsFolder, wanted: str, environ: Mapping[str, str]) -> RunLayout:
    """Return the run that is meant, as `find_run` does, but only where nothing else can be meant.

    Raises:
        UsageError: There is none, several fit, one of them by its name, or it is a link.
    """
    if os.path.islink(os.path.expanduser(wanted.rstrip("/"))) and "/" in wanted:
        raise UsageError(f"{wanted} is a link", "name the run itself")
    layout = find_run(folder, wanted, environ)
    if "/" in wanted or layout.dir.name == wanted:
        return layout
    layouts = run_layouts(folder, environ, damaged=True)
    fits = [one for one in layouts if one.dir.name.startswith(wanted) or _name_of(one) == wanted]
    if len(fits) > 1:
        raise UsageError(f"{wanted} fits {len(fits)} runs", "give an id; parallel-ml list shows them")
    return layout


def remember_run(layout: RunLayout, environ: Mapping[str, str]) -> None:
    """Add a run to the per-user index. It is a convenience: a home that cannot be written is let be."""
    index = _index_path(environ)
    line = json.dumps({"run": layout.dir.name, "dir": str(layout.dir)}) + "\n"
    with contextlib.suppress(OSError):
        index.parent.mkdir(parents=True, exist_ok=True)
        with index.open("a", encoding="utf-8") as stream:
            _lock(stream)
            stream.write(line)


def forget_removed_runs(environ: Mapping[str, str]) -> int:
    """Take runs out of the per-user index whose folder is there without them, and return how many.

    A folder that is not there may be on a disk that is not mounted now; its runs stay.
    """
    with contextlib.suppress(OSError, UnicodeError), _index_path(environ).open("r+", encoding="utf-8") as stream:
        removed = {line for line in stream if _is_removed(line)}  # a disk may hang: nobody must wait for us meanwhile
        if not removed:
            return 0
        _lock(stream)
        stream.seek(0)
        lines = stream.readlines()
        kept = [line for line in lines if line not in removed]
        if len(kept) < len(lines):
            # In place, as others wait for the lock of this very file; readers skip what they meet half written.
            stream.seek(0)
            stream.writelines(kept)
            stream.truncate()
        return len(lines) - len(kept)
    return 0


def run_layouts(folder: RunsFolder, environ: Mapping[str, str], *, damaged: bool = False) -> Iterator[RunLayout]:
    """Yield runs, newest first: those of the folder, and where nobody chose one, of the index as well.

    Args:
        folder: The runs folder.
        environ: The environment.
        damaged: Also what is left of runs that have lost their events.
    """
    dirs = {run_id: f"{folder.root}/{run_id}" for run_id in folder.run_ids()}
    if not folder.chosen:
        dirs = {**_indexed(environ), **dirs}
    for run_id in sorted(dirs, reverse=True):
        if _is_run(dirs[run_id]) or (damaged and _was_run(dirs[run_id])):
            yield RunLayout(dirs[run_id])


def _is_run(path: str) -> bool:
    return os.path.exists(f"{path}/events.jsonl")


def _was_run(path: str) -> bool:
    """Whether this is a run's directory, by its name; its events may be gone."""
    return re.fullmatch(_RUN_ID, os.path.basename(path)) is not None and os.path.isdir(path)


def _id_of(layout: RunLayout) -> str:
    return os.path.basename(layout.root)


def _lock(stream: TextIO) -> None:
    """Lock the index until it is closed.

    Raises:
        BlockingIOError: Another process does not let go of it: it is stopped, or hangs.
    """
    give_up_at = time.monotonic() + _INDEX_PATIENCE_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)
        else:
            return


def _indexed(environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    with (
        contextlib.suppress(OSError),
        open(f"{state_root(environ)}/{_INDEX}", encoding="utf-8", errors="replace") as lines,
    ):
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                found[str(entry["run"])] = os.path.normpath(entry["dir"])
    return found


def _name_of(layout: RunLayout) -> object:
    """Return the name that a run was given; None where it cannot be read."""
    with contextlib.suppress(StoreError):
        plan = read_json(layout.plan)
        return plan.get("name") if isinstance(plan, dict) else None
    return None


def _is_removed(line: str) -> bool:
    """Whether a line of the index names a run that is gone, or nothing at all."""
    try:
        run_dir = os.path.normpath(json.loads(line)["dir"])
    except (ValueError, KeyError, TypeError):
        return True
    return os.path.isdir(os.path.dirname(run_dir) or ".") and not os.path.lexists(run_dir)


def _index_path(environ: Mapping[str, str]) -> Path:
    return state_folder(environ) / _INDEX


def _run_at(named: str) -> RunLayout:
    from pathlib import Path  # noqa: PLC0415 - see `RunsFolder`

    path = Path(named)
    layout = RunLayout(path.expanduser().resolve())
    if not (_is_run(layout.root) or _was_run(layout.root)):
        raise UsageError(f"{path} is not a run's directory", "parallel-ml list shows the runs")
    return layout
