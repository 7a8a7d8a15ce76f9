"""Which runs `clean` may take, which it takes, and what is left when it is cut short."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_ml.core.events import JobFinished, RunCreated
from parallel_ml.core.model import JobSpec, JobState
from parallel_ml.errors import RunLocked, StoreError, UsageError
from parallel_ml.store import cleaning
from parallel_ml.store.cleaning import (
    Criteria,
    FinishedRun,
    choose,
    finished_run,
    finished_runs,
    leftovers,
    remove_run,
    remove_temporaries,
)
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run, new_run_id
from parallel_ml.store.runs import forget_removed_runs, remember_run, runs_folder

DAY_S = 86400.0
NOW = 100 * DAY_S
MakeRun = Callable[..., RunLayout]


@pytest.fixture
def make(tmp_path: Path) -> MakeRun:
    """Return a maker of runs with one job; `ended` None is a run that has not finished."""

    def made(created: float = 0.0, ended: float | None = 1.0) -> RunLayout:
        layout = RunLayout(tmp_path / "runs" / new_run_id(created))
        spec = JobSpec(0, "a", "a.yaml", "command", seed=0)
        create_run(layout, RunCreated(layout.dir.name, "night", (spec,)), {}, {"a": "x: 1"}, created)
        if ended is not None:
            store = RunStore(layout)
            store.add([JobFinished("a", JobState.SUCCEEDED)], ended)
            store.flush()
            store.close()
        return layout

    return made


def ended_days_ago(*ages: float, size: int = 10) -> list[FinishedRun]:
    """Return finished runs, named by their age in days."""
    return [
        FinishedRun(RunLayout(Path(f"/runs/{1000 - age:06.1f}")), "", "completed", NOW - age * DAY_S, size)
        for age in ages
    ]


def ages(runs: list[FinishedRun]) -> list[float]:
    """Return how many days ago runs ended."""
    return [(NOW - run.ended_at) / DAY_S for run in runs]


@pytest.mark.parametrize(
    ("criteria", "gone"),
    [
        (Criteria(), []),
        (Criteria(older_than_s=7 * DAY_S), [30, 20, 8]),
        (Criteria(keep=3), [30, 20]),
        (Criteria(keep=0), [30, 20, 8, 2, 1]),
        (Criteria(keep=9), []),
        (Criteria(older_than_s=7 * DAY_S, keep=3), [30, 20]),
        (Criteria(older_than_s=7 * DAY_S, keep=4), [30]),
        (Criteria(max_bytes=30), [30, 20]),
        (Criteria(max_bytes=31), [30, 20]),
        (Criteria(max_bytes=50), []),
        (Criteria(max_bytes=0, keep=2), [30, 20, 8]),
        (Criteria(older_than_s=25 * DAY_S, max_bytes=30), [30, 20]),
    ],
)
def test_the_criteria_choose_the_oldest(criteria: Criteria, gone: list[float]) -> None:
    """By age, by number, by size; what is kept by number is kept from the others."""
    assert ages(choose(ended_days_ago(1, 30, 8, 2, 20), criteria, NOW)) == gone


def test_what_cannot_go_counts_for_the_size() -> None:
    """Then more of the others go."""
    assert ages(choose(ended_days_ago(3, 2, 1), Criteria(max_bytes=40), NOW, other_bytes=20)) == [3]


def test_a_run_is_removed_whole(make: MakeRun) -> None:
    """Nothing of it is left in the folder of runs, under no name."""
    gone, stays = make(0.0), make(5.0)
    assert finished_run(gone).size_bytes > 0
    remove_run(gone)
    assert list(gone.dir.parent.iterdir()) == [stays.dir]


def test_an_unfinished_run_is_never_removed(make: MakeRun) -> None:
    """Neither chosen nor removed, though nobody drives it."""
    layout = make(ended=None)
    assert finished_runs([layout]) == ([], [layout])
    with pytest.raises(UsageError, match="is not finished"):
        finished_run(layout)
    with pytest.raises(UsageError, match="is not finished"):
        remove_run(layout)
    assert layout.events.exists()


def test_a_run_that_is_driven_is_never_removed(make: MakeRun) -> None:
    """Though it is finished: its supervisor still writes."""
    layout = make()
    store = RunStore(layout)
    assert finished_runs([layout]) == ([], [layout])
    with pytest.raises(RunLocked):
        remove_run(layout)
    store.close()
    assert [run.layout for run in finished_runs([layout])[0]] == [layout]


def test_a_run_that_cannot_be_read_stays(make: MakeRun) -> None:
    """Nobody knows whether it is finished."""
    layout = make()
    layout.events.write_text('{"v": 1}\n')
    layout.state.unlink(missing_ok=True)
    assert finished_runs([layout]) == ([], [layout])


def test_a_run_that_cannot_be_removed_wholly_is_seen_by_nobody(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a hidden name by then, and the next cleaning but for an hour takes the rest."""
    layout = make()

    def fails(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", fails)
        with pytest.raises(StoreError, match="Permission denied"):
            remove_run(layout)
    folder = runs_folder(layout.dir.parent, {}, layout.dir.parent)
    assert folder.run_ids() == []
    assert leftovers(folder, time.time()) == []
    [left] = leftovers(folder, time.time() + cleaning.LEFTOVER_AGE_S + 1)
    cleaning.remove_leftover(left)
    assert not list(folder.path.iterdir())


def test_only_what_the_program_made_is_a_leftover(make: MakeRun) -> None:
    """A making that was cut short is one; other hidden things, files and links are not."""
    layout = make()
    runs = layout.dir.parent
    half = runs / f".{layout.dir.name}.0123abcd.tmp"
    for folder in (half, runs / ".git", runs / ".mine.tmp"):
        folder.mkdir()
    (runs / f".{layout.dir.name}.0123abce.tmp").symlink_to(layout.dir)
    (runs / f".{layout.dir.name}.0123abcf.tmp").touch()
    assert leftovers(runs_folder(runs, {}, runs), time.time() + 2 * cleaning.LEFTOVER_AGE_S) == [half]


def test_a_link_to_a_run_is_left_alone(make: MakeRun, tmp_path: Path) -> None:
    """What it points to may be anywhere."""
    layout = make()
    link = RunLayout(layout.dir.with_name("20260101-000000-0000"))
    link.dir.symlink_to(layout.dir)
    with pytest.raises(StoreError, match="is a link"):
        remove_run(link)
    assert layout.events.exists()


def test_the_index_forgets_what_was_removed(make: MakeRun, tmp_path: Path) -> None:
    """And junk; it keeps what is there, and what is on a disk that is not mounted."""
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    gone, stays = make(0.0), make(5.0)
    elsewhere = RunLayout(tmp_path / "unmounted" / "20260101-000000-0000")
    for layout in (gone, stays, elsewhere):
        remember_run(layout, environ)
    index = tmp_path / "state" / "parallel_ml" / "runs.jsonl"
    with index.open("a") as stream:
        stream.write("junk\n")
    remove_run(gone)
    assert forget_removed_runs(environ) == 2
    text = index.read_text()
    assert [layout.dir.name in text for layout in (gone, stays, elsewhere)] == [False, True, True]
    assert forget_removed_runs(environ) == 0
    assert index.read_text() == text


def test_without_an_index_there_is_nothing_to_forget(tmp_path: Path) -> None:
    """A first cleaning."""
    assert forget_removed_runs({"XDG_STATE_HOME": str(tmp_path)}) == 0


def test_half_written_files_go_and_what_may_be_under_way_stays(make: MakeRun) -> None:
    """A supervisor that takes over removes what its dead predecessor left; a live shim's files are not its own."""
    layout = make()
    attempt = layout.dir / "jobs" / "a" / "attempt-01"
    attempt.mkdir(parents=True)
    of_supervisors = {attempt / ".resolved.yaml.xrxonp2h.tmp", layout.dir / ".state.json.a_b2c3d4.tmp"}
    of_shims = {attempt / "exit.json.417.tmp", attempt / ".shim.417.tmp"}
    of_the_job = {attempt / ".model.tmp", layout.dir / "jobs" / "a" / "checkpoints.tmp"}
    for path in of_supervisors | of_shims | of_the_job:
        path.write_text("half")
    remove_temporaries(layout, of_supervisors=True)
    assert set(layout.dir.rglob("*.tmp")) == of_shims | of_the_job
    remove_temporaries(layout)
    assert set(layout.dir.rglob("*.tmp")) == of_the_job
