"""How a run stands that nobody drives, by the files of its attempts."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_ml.core import events as ev
from parallel_ml.core.events import Record
from parallel_ml.core.model import Allocation, JobSpec, JobState, RunState
from parallel_ml.core.state import fold
from parallel_ml.store.attempts import foresee
from parallel_ml.store.files import make_dir, write_json
from parallel_ml.store.identity import identify
from parallel_ml.store.layout import RunLayout


@pytest.mark.parametrize(("ticks", "attempts_lost"), [(-1, 0), (1, 1)])
def test_a_supervisors_claim_is_no_shim_that_was_lost(tmp_path: Path, ticks: int, attempts_lost: int) -> None:
    """The attempt never began, so that it costs nothing; a dead shim's did."""
    layout, me = RunLayout(tmp_path / "run"), identify()
    assert me is not None
    state = RunState()
    told = [
        ev.RunCreated("run", "", (JobSpec(0, "a", "a.yaml", "command", 1),)),
        ev.SupervisorStarted(me),
        ev.JobPlaced("a", 1, Allocation(0), None, 1),
    ]
    for number, event in enumerate(told, 1):
        fold(state, Record(number, float(number), event))
    files = layout.job("a").attempt(1)
    make_dir(files.dir)
    write_json(files.shim, {"shim": vars(me) | {"start_ticks": ticks}, "process": None})
    job = foresee(state, layout).jobs["a"]
    outcomes = [attempt.outcome.kind.value for attempt in job.attempts if attempt.outcome is not None]
    assert outcomes.count("lost") == attempts_lost
    assert job.state in (JobState.QUEUED, JobState.RETRYING)
