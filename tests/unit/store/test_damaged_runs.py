"""Runs that cannot be read: seen, and removed where nothing of them can run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_ml.adapters.cli.main import main
from parallel_ml.core.codec import encode
from parallel_ml.core.events import RunCreated
from parallel_ml.core.model import JobSpec
from parallel_ml.errors import UsageError
from parallel_ml.runtime.client import list_runs
from parallel_ml.store import living
from parallel_ml.store.cleaning import finished_runs, removable_run, remove_run
from parallel_ml.store.identity import identify
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run, new_run_id
from parallel_ml.store.runs import find_run, runs_folder


@pytest.fixture(params=["garbage", "lost"])
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> RunLayout:
    """Return a run whose first event is garbage, or that has lost its events."""
    layout = RunLayout(tmp_path / "runs" / new_run_id(0.0))
    spec = JobSpec(0, "a", "a.yaml", "command", seed=0)
    create_run(layout, RunCreated(layout.dir.name, "night", (spec,)), {}, {"a": ""}, 0.0)
    if request.param == "garbage":
        layout.events.write_bytes(b"{garbage\n" + layout.events.read_bytes())
    else:
        layout.events.unlink()
    layout.job("a").attempt(1).dir.mkdir()
    return layout


def test_it_is_listed_and_found_by_its_id(damaged: RunLayout) -> None:
    """But it is not the newest run that verbs without a name are about."""
    [status] = list_runs(damaged.dir.parent)
    assert (status.run, status.state) == (damaged.dir.name, "unreadable")
    folder = runs_folder(damaged.dir.parent, {}, damaged.dir.parent)
    assert find_run(folder, damaged.dir.name, {}) == damaged
    assert find_run(folder, str(damaged.dir), {}) == damaged
    if not damaged.events.exists():
        with pytest.raises(UsageError, match="no runs"):
            find_run(folder, None, {})


def test_it_goes_when_it_is_named(damaged: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    """Criteria never take it, and it counts among those that stay."""
    assert finished_runs([damaged]) == ([], [damaged])
    runs = ["--runs-dir", str(damaged.dir.parent)]
    assert main(["clean", "--keep", "0", *runs]) == 0
    assert "1 run stays" in capsys.readouterr().out
    assert main(["clean", damaged.dir.name, *runs]) == 0
    assert "0 runs stay" in capsys.readouterr().out
    assert not damaged.dir.exists()


@pytest.mark.parametrize("process", ["shim", "process"])
def test_it_stays_while_a_process_of_it_lives(damaged: RunLayout, process: str) -> None:
    """The shim, or what it guards, as the shim wrote them down."""
    told = {"shim": None, "process": None} | {process: encode(identify())}
    damaged.job("a").attempt(1).shim.write_text(json.dumps(told))
    with pytest.raises(UsageError, match=f"process {os.getpid()} of it is alive"):
        removable_run(damaged)
    with pytest.raises(UsageError, match="is alive"):
        remove_run(damaged)
    damaged.job("a").attempt(1).exit.write_text("{}")
    remove_run(damaged)
    assert not damaged.dir.exists()


def test_it_stays_while_a_shim_of_another_host_may_live(damaged: RunLayout) -> None:
    """Nobody can look there from here."""
    there = {"host": "elsewhere", "boot_id": "x", "pid": 1, "start_ticks": 1}
    damaged.job("a").attempt(1).shim.write_text(json.dumps({"shim": there, "process": None}))
    with pytest.raises(UsageError, match="may be alive on elsewhere"):
        removable_run(damaged)


def test_it_stays_while_an_attempt_may_be_starting(damaged: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its shim may not have claimed it yet; a minute later it never will."""
    damaged.job("a").attempt(1).start.write_text("{}")
    with pytest.raises(UsageError, match="may be starting"):
        removable_run(damaged)
    monkeypatch.setattr(living, "_CLAIM_S", -1.0)
    assert removable_run(damaged).state == "unreadable"


@pytest.mark.process
def test_it_stays_while_a_process_says_that_it_is_of_it(damaged: RunLayout) -> None:
    """Whatever is left of the files."""
    env = {**os.environ, "PARALLEL_ML_JOB_DIR": str(damaged.job("a").dir)}
    argv = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(UsageError, match=f"process {child.pid} of it is alive"):
            removable_run(damaged)
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.wait()
    assert removable_run(damaged).state == "unreadable"


def test_it_stays_while_it_is_driven(tmp_path: Path) -> None:
    """The lock tells, whatever the events say."""
    layout = RunLayout(tmp_path / new_run_id(0.0))
    spec = JobSpec(0, "a", "a.yaml", "command", seed=0)
    create_run(layout, RunCreated(layout.dir.name, "night", (spec,)), {}, {"a": ""}, 0.0)
    store = RunStore(layout)
    layout.events.unlink()
    with pytest.raises(UsageError, match="driven by a supervisor"):
        removable_run(layout)
    store.close()


def test_a_run_that_was_moved_here_is_found_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `./` too."""
    layout = RunLayout(tmp_path / "moved")
    spec = JobSpec(0, "a", "a.yaml", "command", seed=0)
    create_run(layout, RunCreated("20260101-120000-3fa9", "night", (spec,)), {}, {"a": ""}, 0.0)
    monkeypatch.chdir(tmp_path)
    assert find_run(runs_folder(None, {}, tmp_path), "moved", {}).dir == layout.dir
