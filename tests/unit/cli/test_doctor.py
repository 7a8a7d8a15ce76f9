"""`doctor`: its lines, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallel_ml.adapters.cli.doctor import finding_lines
from parallel_ml.adapters.cli.main import main
from parallel_ml.runtime.finding import Finding


def test_lines_say_what_to_do_and_how_many(hostile: str) -> None:
    """A line each, aligned; what to do below; sanitised; the count at the end."""
    found = [
        Finding("disk", "ok", "5GiB"),
        Finding("clock", "warning", hostile, "set it"),
        Finding("job start", "problem", "no", ""),
    ]
    lines = finding_lines(found)
    assert lines[0] == "ok       disk       5GiB"
    assert lines[2] == "                    -> set it"
    assert lines[-1] == "1 problem, 1 warning"
    assert "\x1b" not in "".join(lines)
    assert finding_lines(found[:1])[-1] == "everything is fine"


@pytest.mark.process
def test_a_problem_is_no_failure_of_doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 0 as it could tell; `ok` says that there is a problem."""
    (tmp_path / "file").touch()
    assert main(["doctor", "--json", "--runs-dir", str(tmp_path / "file")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    folder = next(one for one in told["findings"] if one["name"] == "runs folder")
    assert set(folder) == {"name", "state", "text", "advice"}
    assert folder["state"] == "problem"


@pytest.mark.process
def test_doctor_speaks_to_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with the folder that is meant."""
    assert main(["doctor", "--runs-dir", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr().out
    assert str(tmp_path / "runs") in shown
    assert all(f"  {name} " in shown for name in ("python", "cores", "disk", "job start", "terminal"))
