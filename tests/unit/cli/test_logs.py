"""`logs`: which lines are shown, and in which order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallel_ml.adapters.cli.main import main
from parallel_ml.core.events import JobFinished, RunCreated
from parallel_ml.core.model import JobSpec, JobState
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run
from parallel_ml.store.run_view import iso

Record = tuple[str, dict[str, object]]


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Return a finished run of one job."""
    layout = RunLayout(tmp_path / "20260101-120000-3fa9")
    spec = JobSpec(0, "a", "a.yaml", "command", seed=0)
    create_run(layout, RunCreated(layout.dir.name, "night", (spec,)), {}, {"a": ""}, 0.0)
    store = RunStore(layout)
    store.add([JobFinished("a", JobState.SUCCEEDED)], 1_000_000.0)
    store.flush()
    store.close()
    return layout


def write_log(layout: RunLayout, *records: Record) -> None:
    """Write a log, a line a second."""
    lines = [
        json.dumps({"timestamp": iso(float(second)), "message": text, "type": "stderr", **more})
        for second, (text, more) in enumerate(records)
    ]
    layout.job("a").log.write_text("".join(f"{line}\n" for line in lines))


def test_the_last_lines_of_a_large_log_are_its_last_ones(layout: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    """A log of more than 4 MiB is read in pieces; the end of the job stands behind all of them."""
    write_log(layout, *((f"{'x' * 1000} {number}", {}) for number in range(5_000)))
    assert main(["logs", str(layout.dir), "-n", "2"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.split()[-1] == "4999"
    assert last == "-- completed"


def test_a_bar_that_is_still_drawn_is_shown_as_it_is_now(layout: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    """What it looked like before, or before its line was whole, is not."""
    picture: dict[str, object] = {"progress": True}
    write_log(layout, ("10%", picture), ("100%", {}), ("20%", picture), ("30%", picture))
    assert main(["logs", str(layout.dir)]) == 0
    assert capsys.readouterr().out.splitlines() == ["100%", "-- completed", "30%"]


def test_following_shows_a_bar_as_it_grows(layout: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    """The pictures that come from now on, and the line at the end."""
    write_log(layout, ("10%", {"progress": True}), ("100%", {}))
    assert main(["logs", str(layout.dir), "-f"]) == 0
    assert capsys.readouterr().out.splitlines() == ["100%", "-- completed"]
