"""What the cache has ready to be told of finished jobs is told for as long as it is true, and no longer."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ml.core import events as ev
from parallel_ml.core.model import Allocation, JobSpec, JobState, Machine, ProcessId, Resources
from parallel_ml.core.outcome import Outcome, OutcomeKind
from parallel_ml.core.placement import waiting_reasons
from parallel_ml.store import run_store
from parallel_ml.store.job_status import BRIEF, EVERYTHING, TABLE, Show, iso
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run
from parallel_ml.store.run_view import RunView

ME = ProcessId("host", "boot", 7, 8)
NAMES = ("first", "zweite 四", "third")


@pytest.fixture(autouse=True)
def _the_time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)


def finished(folder: Path) -> tuple[RunLayout, RunStore]:
    """Return a run with its store: the first two jobs have finished, with all their files, and are in the cache."""
    specs = tuple(JobSpec(n, name, "x.yaml", "command", n, epochs=9) for n, name in enumerate(NAMES))
    layout = RunLayout(folder / "r")
    create_run(layout, ev.RunCreated("r", "", specs), {}, dict.fromkeys(NAMES, ""), 0.0)
    store = RunStore(layout)
    store.add([ev.SupervisorStarted(ME), ev.MachineSeen(Machine((), 4, 8 << 30))], 1.0)
    for name, kind, state in (
        (NAMES[0], OutcomeKind.SUCCESS, JobState.SUCCEEDED),
        (NAMES[1], OutcomeKind.ERROR, JobState.FAILED),
    ):
        store.add([ev.JobPlaced(name, 1, Allocation(0, cpus=2), 32, 1), ev.AttemptStarted(name, 1, ME, ME)], 2.0)
        store.add([ev.AttemptEnded(name, 1, Outcome(kind, 1), "no"), ev.JobFinished(name, state, "no")], 3.5)
        for path, text in files(layout, name).items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    store.flush()
    store.snapshot(0.0, at_once=True)
    return layout, store


def files(layout: RunLayout, name: str) -> dict[Path, str]:
    """Return the files that a job is told from, with what they hold."""
    job = layout.job(name)
    return {
        job.metrics: '{"epoch": 2, "epochs": 4, "train_loss": 0.5, "note": NaN}\n{"epoch": 3',
        job.result: '{"test_accuracy": 0.9, "classes": ["a"]}',
        job.attempt(1).samples: '{"timestamp": 1, "memory_mb": 5, "memory_peak_mb": 9}\n',
    }


def told(layout: RunLayout, show: Show = EVERYTHING) -> str:
    """Return the status of a run as a fresh reader sees it, as text: nothing else is equal to NaN."""
    return repr(RunView(layout).status(show).to_dict())


def appended(path: Path) -> None:
    """Let a file grow by a line."""
    with path.open("a") as stream:
        stream.write('{"epoch": 7}\n')


def replaced(path: Path) -> None:
    """Put another file of the same size in a file's place."""
    other = path.with_suffix(".new")
    other.write_text(path.read_text().replace("9", "7").replace("2", "1"))
    other.rename(path)


def emptied(path: Path) -> None:
    """Cut a file to nothing."""
    path.write_text("")


CHANGES: tuple[Callable[[Path], None], ...] = (appended, replaced, emptied, Path.unlink)


@pytest.mark.parametrize("show", [EVERYTHING, TABLE, BRIEF])
def test_finished_jobs_are_told_from_the_cache_as_from_their_files(show: Show, tmp_path: Path) -> None:
    """Each time, since a reader that watches tells them again and again."""
    layout, store = finished(tmp_path)
    view = RunView(layout)
    ready = [repr(view.status(show).to_dict()) for _ in range(2)]
    layout.state.unlink()
    assert ready == [told(layout, show)] * 2
    store.close()


def test_programs_are_told_the_same_as_text(tmp_path: Path) -> None:
    """Whichever jobs are ready, each time, wherever the run is; with its jobs in their order."""
    layout, store = finished(tmp_path / 'a "folder" {0} 四')
    for name in NAMES[:2]:
        text = '{"epoch": 2, "train_loss": 0.5, "note": "\\u2028 {0} \\t,"}\n'
        layout.job(name).metrics.write_text(text, encoding="utf-8")
    for _ in range(2):
        view = RunView(layout)
        assert json.loads(view.status_json()[1]) == view.status().to_dict()
        store.add([ev.JobQueued(NAMES[0], "again", afresh=True), ev.JobFinished(NAMES[0], JobState.SUCCEEDED)], 3.5)
        store.flush()
        store.snapshot(0.0, at_once=True)
        view.refresh()
        assert json.loads(view.status_json()[1]) == view.status().to_dict()
    store.close()


def test_what_programs_are_told_is_taken_from_the_cache(tmp_path: Path) -> None:
    """As text, until a file is touched; a figure that JSON has no name for is an error as it is elsewhere."""
    layout, store = finished(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        RunView(layout).status_json()
    for name in NAMES[:2]:
        layout.job(name).metrics.write_text('{"epoch": 2}\n')
    store.close()
    layout.state.unlink()
    store = RunStore(layout)
    store.snapshot(0.0, at_once=True)
    cache = layout.state.read_bytes()
    layout.state.write_bytes(cache.replace(b'"test_accuracy":0.9', b'"test_accuracy":0.8'))
    assert '"test_accuracy":0.8' in RunView(layout).status_json()[1]
    os.utime(layout.job(NAMES[0]).metrics)
    assert '"test_accuracy": 0.9' in RunView(layout).status_json()[1]
    store.close()


def test_what_is_ready_is_told_until_a_file_is_touched(tmp_path: Path) -> None:
    """The cache is believed as long as nothing says otherwise: that is what makes it quick."""
    layout, store = finished(tmp_path)
    before = told(layout)
    cache = layout.state.read_bytes()
    layout.state.write_bytes(cache.replace(b'"test_accuracy":0.9', b'"test_accuracy":0.8'))
    assert told(layout) == before.replace("0.9", "0.8") != before
    os.utime(layout.job(NAMES[0]).metrics)
    assert told(layout) == before
    store.close()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", range(3))
def test_a_file_that_has_changed_since_is_read(change: Callable[[Path], None], place: int, tmp_path: Path) -> None:
    """Whichever of a job's files it is, and however it has changed."""
    layout, store = finished(tmp_path)
    before = told(layout)
    for name in NAMES[:2]:
        change(list(files(layout, name))[place])
    cached = told(layout)
    layout.state.unlink()
    assert before != cached == told(layout)
    store.close()


def test_a_file_that_comes_late_is_read(tmp_path: Path) -> None:
    """A file that was not there when the cache was written."""
    layout, store = finished(tmp_path)
    whole = told(layout)
    late = list(files(layout, NAMES[0]))
    texts = [path.read_text() for path in late]
    for path in late:
        path.unlink()
    store.add([ev.JobQueued(NAMES[0], "again", afresh=True), ev.JobFinished(NAMES[0], JobState.SUCCEEDED, "no")], 3.5)
    store.flush()
    store.snapshot(0.0, at_once=True)
    assert told(layout) != whole
    for path, text in zip(late, texts, strict=True):
        path.write_text(text)
    cached = told(layout)
    layout.state.unlink()
    assert cached == told(layout)
    store.close()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_cache_is_told_by_the_log(data: st.DataObject) -> None:
    """Cut anywhere, with bytes that a disk lost, with lines gone or twice: never is half of it believed."""
    with tempfile.TemporaryDirectory() as folder:
        layout, store = finished(Path(folder))
        whole, cache = told(layout), layout.state.read_bytes()
        lines = cache.splitlines(keepends=True)
        at, line = data.draw(st.integers(0, len(cache) - 1)), data.draw(st.integers(0, len(lines) - 1))
        damaged = data.draw(
            st.sampled_from(
                [
                    cache[:at],
                    cache[:at] + bytes(len(cache) - at),
                    b"".join(lines[:line] + lines[line + 1 :]),
                    b"".join(lines[: line + 1] + lines[line:]),
                    cache.replace(b'"process_id"', b'"another"'),
                ]
            )
        )
        layout.state.write_bytes(damaged)
        assert told(layout) == whole
        view = RunView(layout)
        for name in NAMES[:2]:
            layout.job(name).metrics.unlink()
        assert json.loads(view.status_json()[1]) == view.status().to_dict()
        store.close()


WANTS = st.builds(
    Resources,
    gpus=st.sampled_from([None, 0]),
    cpus=st.sampled_from([None, 1, 64]),
    memory_bytes=st.sampled_from([None, 6 << 30]),
)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), limit=st.sampled_from([None, 1, 3]))
def test_waiting_jobs_are_told_why_as_if_each_were_looked_at(data: st.DataObject, limit: int | None) -> None:
    """Jobs that ask for the same have the same reason, but where they wait for others, or come first."""
    names = [f"job{n}" for n in range(12)]
    specs = tuple(
        JobSpec(
            n,
            name,
            "x.yaml",
            "command",
            n,
            resources=data.draw(WANTS),
            priority=data.draw(st.integers(0, 1)),
            depends_on=tuple(data.draw(st.sets(st.sampled_from(names[:n]), max_size=1))) if n else (),
        )
        for n, name in enumerate(names)
    )
    running = data.draw(st.integers(0, 3))
    with tempfile.TemporaryDirectory() as folder:
        layout = RunLayout(Path(folder) / "r")
        create_run(layout, ev.RunCreated("r", "", specs, limit), {}, dict.fromkeys(names, ""), 0.0)
        store = RunStore(layout)
        store.add([ev.SupervisorStarted(ME), ev.MachineSeen(Machine((), 4, 8 << 30))], 1.0)
        for number, name in enumerate(names[:running]):
            store.add([ev.JobPlaced(name, 1, Allocation(number), 32, 1), ev.AttemptStarted(name, 1, ME, ME)], 2.0)
        store.flush()
        store.snapshot(0.0, at_once=True)
        found: dict[str, Any] = {job.name: job.waiting for job in RunView(layout).status(TABLE).jobs}
        reasons = waiting_reasons(store.state, store.state.machine)
        store.close()
    assert found == {name: reasons.get(name) for name in names}


@given(st.floats(0, 253402300799))
def test_times_are_those_of_the_standard_library(seconds: float) -> None:
    """To the microsecond, rounded as it rounds."""
    expected = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")
    assert iso(seconds) == expected


def test_of_many_finished_jobs_some_are_told_with_each_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that takes over a run of thousands does not stand still to read all of their files."""
    monkeypatch.setattr(run_store, "MOST_TOLD", 4)
    names = [f"job{n}" for n in range(9)]
    specs = tuple(JobSpec(n, name, "x.yaml", "command", n) for n, name in enumerate(names))
    layout = RunLayout(tmp_path / "r")
    create_run(layout, ev.RunCreated("r", "", specs), {}, dict.fromkeys(names, ""), 0.0)
    store = RunStore(layout)
    store.add([ev.JobFinished(name, JobState.STOPPED) for name in names], 1.0)
    counts = []
    for number in range(4):
        store.add([ev.OrderDone(f"order-{number}", "stop")], 2.0)
        store.flush()
        store.snapshot(0.0, at_once=True)
        told_jobs = json.loads(layout.state.read_bytes())["told"]
        counts.append(sum(one is not None for one in told_jobs))
        assert {job.outcome for job in RunView(layout).status(TABLE).jobs} == {"stopped"}
    store.close()
    assert counts == [4, 8, 9, 9]
