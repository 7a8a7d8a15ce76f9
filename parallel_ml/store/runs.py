"""Where runs live, and which one is meant: the runs folder, and the per-user index of runs in all folders."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from parallel_ml.errors import UsageError
from parallel_ml.store.files import read_json
from parallel_ml.store.layout import RunLayout


@dataclass(frozen=True)
class RunsFolder:
    """A folder of runs.

    Attributes:
        path: The folder.
        chosen: Whether somebody named it; else it is `./runs`, and the per-user index is asked as well.
    """

    path: Path
    chosen: bool

    def layout(self, run_id: str) -> RunLayout:
        """Return where a run of this folder is."""
        return RunLayout(self.path / run_id)

    def run_ids(self) -> list[str]:
        """Return the ids of the runs in here, oldest first."""
        with contextlib.suppress(OSError):
            names = [name for name in os.listdir(self.path) if not name.startswith(".")]
            return sorted(name for name in names if (self.path / name / "events.jsonl").exists())
        return []


def runs_folder(explicit: str | Path | None, environ: Mapping[str, str], cwd: Path) -> RunsFolder:
    """Return the folder that is meant: the given one, else `$PARALLEL_ML_RUNS`, else `./runs`."""
    named = explicit or environ.get("PARALLEL_ML_RUNS")
    if named:
        try:
            return RunsFolder((cwd / Path(named).expanduser()).resolve(), chosen=True)
        except (RuntimeError, ValueError, OSError) as error:  # no such user behind ~, a loop of links, a null byte
            raise UsageError(f"the runs folder {str(named)!r} cannot be used: {error}") from error
    return RunsFolder((cwd / "runs").resolve(), chosen=False)


def find_run(folder: RunsFolder, wanted: str | None, environ: Mapping[str, str]) -> RunLayout:
    """Return the run that is meant: by id, beginning of an id, name or directory; the newest where none is named.

    Raises:
        UsageError: There is none, or several fit.
    """
    if wanted and ("/" in wanted or wanted in (".", "..")):
        return _run_at(Path(wanted))
    if wanted is None:
        newest = next(iter(run_layouts(folder, environ)), None)
        if newest is None:
            raise UsageError(f"no runs in {folder.path}", "start one with: parallel-ml run CONFIG...")
        return newest
    fits = [layout for layout in run_layouts(folder, environ) if layout.dir.name.startswith(wanted)]
    exact = [layout for layout in fits if layout.dir.name == wanted]
    if len(exact or fits) == 1:
        return (exact or fits)[0]
    if fits:
        raise UsageError(f"{wanted} fits {len(fits)} runs", "give more of the id; parallel-ml list shows them")
    for layout in run_layouts(folder, environ):
        if (read_json(layout.plan) or {}).get("name") == wanted:
            return layout
    raise UsageError(f"no run {wanted} in {folder.path}", "parallel-ml list shows the runs")


def remember_run(layout: RunLayout, environ: Mapping[str, str]) -> None:
    """Add a run to the per-user index. It is a convenience: a home that cannot be written is let be."""
    index = _index_path(environ)
    line = json.dumps({"run": layout.dir.name, "dir": str(layout.dir)}) + "\n"
    with contextlib.suppress(OSError):
        index.parent.mkdir(parents=True, exist_ok=True)
        with index.open("a", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(line)


def forget_removed_runs(environ: Mapping[str, str]) -> int:
    """Take runs out of the per-user index whose folder is there without them, and return how many.

    A folder that is not there may be on a disk that is not mounted now; its runs stay.
    """
    with contextlib.suppress(OSError), _index_path(environ).open("r+", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        lines = stream.readlines()
        kept = [line for line in lines if not _is_removed(line)]
        if len(kept) < len(lines):
            # In place, as others wait for the lock of this very file; readers skip what they meet half written.
            stream.seek(0)
            stream.writelines(kept)
            stream.truncate()
        return len(lines) - len(kept)
    return 0


def run_layouts(folder: RunsFolder, environ: Mapping[str, str]) -> Iterator[RunLayout]:
    """Yield runs, newest first: those of the folder, and where nobody chose one, of the index as well."""
    dirs = {run_id: folder.path / run_id for run_id in folder.run_ids()}
    if not folder.chosen:
        dirs = {**_indexed(environ), **dirs}
    for run_id in sorted(dirs, reverse=True):
        if (dirs[run_id] / "events.jsonl").exists():
            yield RunLayout(dirs[run_id])


def _indexed(environ: Mapping[str, str]) -> dict[str, Path]:
    found = {}
    with contextlib.suppress(OSError):
        for line in _index_path(environ).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                found[str(entry["run"])] = Path(entry["dir"])
    return found


def _is_removed(line: str) -> bool:
    """Whether a line of the index names a run that is gone, or nothing at all."""
    try:
        run_dir = Path(json.loads(line)["dir"])
    except (ValueError, KeyError, TypeError):
        return True
    return run_dir.parent.is_dir() and not run_dir.exists()


def _index_path(environ: Mapping[str, str]) -> Path:
    home = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(home) / "parallel_ml" / "runs.jsonl"


def _run_at(path: Path) -> RunLayout:
    layout = RunLayout(path.expanduser().resolve())
    if not layout.events.exists():
        raise UsageError(f"{path} is not a run's directory", "parallel-ml list shows the runs")
    return layout
