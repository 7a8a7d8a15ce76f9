"""The supervisor's own log."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

from parallel_ml.runtime.log import open_log


def test_an_event_is_a_line_of_json(tmp_path: Path) -> None:
    """Its name, its level, its fields and the time in UTC are in it; what JSON does not know is shown."""
    with open_log(tmp_path / "log") as log:
        log.info("order", job="a", place=Path("x"))
        log.warning("note", text="né\n")
    first, second = map(json.loads, (tmp_path / "log").read_text(encoding="utf-8").splitlines())
    assert (first["event"], first["level"], first["job"]) == ("order", "info", "a")
    assert "x" in first["place"]
    assert datetime.fromisoformat(first["timestamp"].replace("Z", "+00:00")).utcoffset() == timedelta(0)
    assert (second["level"], second["text"]) == ("warning", "né\n")


def test_it_is_appended_to(tmp_path: Path) -> None:
    """A supervisor that takes over goes on in the log of the one before."""
    for number in range(2):
        with open_log(tmp_path / "log") as log:
            log.error("begun", number=number)
    assert len((tmp_path / "log").read_text(encoding="utf-8").splitlines()) == 2


def test_a_log_that_cannot_be_opened_is_silent(tmp_path: Path) -> None:
    """Without a folder to write in, what is said is lost and nothing is raised."""
    with open_log(tmp_path / "gone" / "log") as log:
        log.info("order")
    assert not (tmp_path / "gone").exists()


def test_a_full_disk_silences_it() -> None:
    """Writing to a device that is always full raises nothing."""
    with open_log(Path("/dev/full")) as log:
        log.info("order")
        log.info("order")
