"""A run's directory: made, locked, cached, viewed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest

from parallel_ml.core.codec import decode
from parallel_ml.core.events import JobFinished, JobQueued, OrderDone, RunCreated, SupervisorStarted
from parallel_ml.core.model import JobSpec, JobState, RunState
from parallel_ml.errors import RunLocked, StoreError, UsageError
from parallel_ml.store.files import last_lines, write_whole
from parallel_ml.store.identity import identify
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.new_files import write_new
from parallel_ml.store.orders import OrderKind, drop_order, file_order, new_order, pending_orders
from parallel_ml.store.run_store import RunStore, create_run, new_run_id
from parallel_ml.store.run_view import RunView
from parallel_ml.store.runs import find_only_run, find_run, remember_run, runs_folder

SPECS = tuple(JobSpec(n, name, f"{name}.yaml", "command", seed=n) for n, name in enumerate(("a", "b")))


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Return a new run of two jobs."""
    layout = RunLayout(tmp_path / "runs" / new_run_id(0.0))
    create_run(layout, RunCreated(layout.dir.name, "night", SPECS), {"name": "night"}, {"a": "x: 1", "b": ""}, 0.0)
    return layout


def test_a_run_has_one_driver(layout: RunLayout) -> None:
    """The second one is refused while the first lives, and welcome afterwards."""
    store = RunStore(layout)
    with pytest.raises(RunLocked, match="another supervisor drives this run"):
        RunStore(layout)
    store.close()
    RunStore(layout).close()


@pytest.mark.parametrize(
    "cache", ["whole", "missing", "torn", "ahead", "foreign", "negative", "within a line", "list", "deep", "odd jobs"]
)
def test_the_state_does_not_depend_on_the_cache(layout: RunLayout, cache: str) -> None:
    """`state.json` may be deleted, torn or newer than the log at will."""
    store = RunStore(layout)
    store.add([JobFinished("a", JobState.STOPPED)], 5.0)
    store.flush()
    store.snapshot(0.0, at_once=True)
    store.add([JobFinished("b", JobState.FAILED, "no")], 6.0)
    store.flush()
    store.close()
    if cache == "missing":
        layout.state.unlink()
    elif cache == "torn":
        layout.state.write_bytes(layout.state.read_bytes()[:50])
    elif cache == "ahead":
        layout.state.write_text('{"v": 1, "offset": 1000000, "state": {}}')
    elif cache == "foreign":
        layout.state.write_text('{"v": 2, "state": 7}')
    elif cache in ("negative", "within a line"):
        told = json.loads(layout.state.read_text())
        told["offset"] = -5 if cache == "negative" else told["offset"] - 3
        layout.state.write_text(json.dumps(told))
    elif cache == "list":
        layout.state.write_text('{"v": 1, "offset": 0, "state": []}')
    elif cache == "deep":
        layout.state.write_text("[" * 100_000)
    elif cache == "odd jobs":
        told = json.loads(layout.state.read_text())
        layout.state.write_text(json.dumps({**told, "state": {**told["state"], "jobs": [1]}}))
    status = RunView(layout).status()
    assert [(job.name, job.state, job.error) for job in status.jobs] == [("a", "stopped", None), ("b", "failed", "no")]
    assert status.supervisor == "gone"


def test_a_run_that_was_removed_is_not_made_anew(layout: RunLayout) -> None:
    """By a supervisor that comes a moment later."""
    shutil.rmtree(layout.dir)
    with pytest.raises(StoreError, match="there is no run here"):
        RunStore(layout)
    assert not layout.dir.exists()


def test_a_folder_that_may_not_be_read_hides_no_run(layout: RunLayout) -> None:
    """Such as the `lost+found` of a disk."""
    closed = layout.dir.parent / "lost+found"
    closed.mkdir(mode=0)
    if os.access(closed, os.R_OK):
        pytest.skip("this user may read everything")
    folder = runs_folder(layout.dir.parent, {}, layout.dir)
    assert folder.run_ids() == [layout.dir.name]
    assert find_run(folder, None, {}).dir == layout.dir


def test_the_index_of_runs_keeps_no_run_waiting(layout: RunLayout, tmp_path: Path) -> None:
    """Another command that was stopped holds its lock; the runs are found in their folder all the same."""
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    remember_run(layout, environ)
    with (tmp_path / "parallel_ml" / "runs.jsonl").open("r+") as index:
        fcntl.flock(index, fcntl.LOCK_EX)
        remember_run(RunLayout(tmp_path / "other"), environ)
        assert len(index.readlines()) == 1


def test_a_run_that_is_to_go_must_be_named_without_doubt(layout: RunLayout, tmp_path: Path) -> None:
    """By a name that no other run has; a link is not followed to what it stands for."""
    folder = runs_folder(layout.dir.parent, {}, tmp_path)
    assert find_only_run(folder, "night", {}).dir == layout.dir
    assert find_only_run(folder, layout.dir.name[:8], {}).dir == layout.dir
    link = layout.dir.parent / "link"
    link.symlink_to(layout.dir)
    with pytest.raises(UsageError, match="is a link"):
        find_only_run(folder, str(link), {})
    link.unlink()
    second = RunLayout(layout.dir.parent / new_run_id(1.0))
    create_run(second, RunCreated(second.dir.name, "night", SPECS), {"name": "night"}, {"a": "", "b": ""}, 1.0)
    assert find_run(folder, "night", {}).dir == second.dir
    with pytest.raises(UsageError, match="night fits 2 runs"):
        find_only_run(folder, "night", {})
    assert find_only_run(folder, layout.dir.name, {}).dir == layout.dir


def test_nothing_is_in_the_cache_before_it_is_in_the_log(layout: RunLayout) -> None:
    """The cache must never know more than the truth."""
    store = RunStore(layout)
    store.add([JobFinished("a", JobState.STOPPED)], 5.0)
    store.snapshot(0.0, at_once=True)
    assert not layout.state.exists()
    store.flush()
    store.snapshot(0.0, at_once=True)
    assert layout.state.exists()
    store.close()


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    """Rather than shown as an empty run."""
    with pytest.raises(StoreError, match="there is no run here"):
        RunView(RunLayout(tmp_path))


def test_orders_come_in_their_order_and_are_filed(layout: RunLayout) -> None:
    """Half-written and foreign files are passed over."""
    first, second = new_order(OrderKind.STOP, "a"), new_order(OrderKind.STOP)
    for order in (second, first):
        drop_order(layout, order)
    (layout.orders / "junk.json").write_text("{")
    (layout.orders / ".half.tmp").write_text("{")
    assert pending_orders(layout) == [first, second]
    file_order(layout, first.id)
    file_order(layout, first.id)
    assert pending_orders(layout) == [second]


def test_a_whole_file_is_replaced_or_left_and_no_temporary_file_stays(tmp_path: Path) -> None:
    """Also when the folder takes no file."""
    path = tmp_path / "x.json"
    write_whole(path, b"one")
    write_whole(path, b"two", mode=0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o600)
    with pytest.raises(StoreError, match="writing"):
        write_whole(tmp_path / "nowhere" / "x", b"")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("block", [1, 3, 8192])
def test_the_last_lines_are_found_from_the_end(tmp_path: Path, block: int) -> None:
    """Whatever the size of the steps; an unfinished line is none."""
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\nthree\nfou")
    assert last_lines(path, 2, block) == [b"two", b"three"]
    assert last_lines(path, 9, block) == [b"one", b"two", b"three"]
    assert last_lines(tmp_path / "none", 1) == []


def test_runs_are_found_by_id_beginning_name_directory_and_from_any_folder(layout: RunLayout, tmp_path: Path) -> None:
    """The index serves where nobody chose a folder."""
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    here = runs_folder(None, environ, tmp_path)
    run_id = layout.dir.name
    for wanted in (None, run_id, run_id[:-1], "night", str(layout.dir)):
        assert find_run(here, wanted, environ).dir == layout.dir
    elsewhere = runs_folder(None, environ, tmp_path / "elsewhere")
    remember_run(layout, environ)
    assert find_run(elsewhere, None, environ).dir == layout.dir
    chosen = runs_folder(tmp_path / "other", environ, tmp_path)
    with pytest.raises(Exception, match="no runs in"):
        find_run(chosen, None, environ)


def test_the_cache_is_what_the_log_adds_up_to_after_each_change(layout: RunLayout) -> None:
    """Jobs that did not change are not encoded anew, and none is forgotten or stale."""
    store = RunStore(layout)
    finished = [JobFinished("a", JobState.STOPPED), JobFinished("b", JobState.FAILED, 'no "room"')]
    queued = [JobQueued("a", "again", afresh=True), OrderDone("order-1", "retry")]
    me = identify()
    assert me is not None
    for number, event in enumerate([*finished, *queued, SupervisorStarted(me, 5.0, clock_set_s=60.0)]):
        store.add([event], float(number))
        store.flush()
        store.snapshot(0.0, at_once=True)
        told = json.loads(layout.state.read_text())
        assert decode(RunState, told["state"]) == store.state
        assert (told["v"], told["offset"]) == (1, layout.events.stat().st_size)
        assert list(told["state"]["jobs"]) == ["a", "b"]
    store.close()


def test_a_run_of_many_jobs_has_each_ones_configuration_for_its_owner_alone(tmp_path: Path) -> None:
    """They are written side by side."""
    layout = RunLayout(tmp_path / "runs" / new_run_id(0.0))
    specs = tuple(JobSpec(n, f"job{n}", "x.yaml", "command", seed=n) for n in range(50))
    texts = {spec.name: f"seed: {spec.seed}\n" for spec in specs}
    create_run(layout, RunCreated(layout.dir.name, "", specs), {}, texts, 0.0)
    assert {spec.name: layout.job(spec.name).source.read_text() for spec in specs} == texts
    assert {layout.job(spec.name).source.stat().st_mode & 0o777 for spec in specs} == {0o600}


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Among many as among few."""
    for count in (1, 50):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "0").write_text("mine")
        with pytest.raises(StoreError, match=f"writing {folder / '0'}: File exists"):
            write_new([(folder / str(number), b"") for number in range(count)])
        assert (folder / "0").read_text() == "mine"
