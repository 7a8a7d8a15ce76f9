"""Displays on a real terminal: what is watched, and what is printed for people."""

from __future__ import annotations

import os
import re

import pytest

from tests.process.test_cli import REPORTS, WAITS, Shell, on_a_terminal, read_terminal, shell, start_on_a_terminal

__all__ = ["shell"]
pytestmark = pytest.mark.process


def test_watching_leaves_the_status_on_the_terminal(shell: Shell) -> None:
    """The display of `run` is shown until the run has finished; then the cursor is back and the status stays."""
    shell.run("run", "--detach", shell.config("a", WAITS))
    process, ours = start_on_a_terminal(shell, "status", "--watch", columns=100)
    shown = read_terminal(ours, "the run goes on")
    assert "\x1b[?25l" in shown
    shell.let_go()
    end = read_terminal(ours)
    os.close(ours)
    assert process.wait(30) == 0
    assert "completed" in end[end.rindex("\x1b[?25h") :]


def test_ctrl_c_ends_the_display_alone(shell: Shell) -> None:
    """The run that is watched goes on."""
    shell.run("run", "--detach", shell.config("a", WAITS))
    process, ours = start_on_a_terminal(shell, "status", "--watch", columns=100)
    read_terminal(ours, "running\x1b")
    os.write(ours, b"\x03")
    end = read_terminal(ours)
    os.close(ours)
    assert process.wait(30) == 130
    assert "\x1b[?25h" in end
    assert shell.jobs()["a"]["state"] == "running"


def test_nothing_is_cleared_while_it_is_drawn(shell: Shell) -> None:
    """No frame clears the screen, and each is one synchronized update: nothing flickers."""
    _, seen = on_a_terminal(shell, "run", shell.config("a", REPORTS), columns=100)
    drawn = seen[seen.index("\x1b[?25l") : seen.rindex("\x1b[?25h")]
    assert "\x1b[2J" not in drawn
    assert "\x1b[2K" not in drawn
    assert drawn.count("\x1b[?2026h") == drawn.count("\x1b[?2026l") > 0


def test_a_curve_is_drawn_from_what_a_job_told(shell: Shell) -> None:
    """A job that goes on after its epochs shows them."""
    shell.env["PYTHONIOENCODING"] = "utf-8"
    code = "from parallel_ml import report\nfor n in (1, 2, 3): report(epoch=n, epochs=3, val_accuracy=n / 4)\n" + WAITS
    process, ours = start_on_a_terminal(shell, "run", shell.config("a", code), columns=100)
    assert read_terminal(ours, "▁▄▇")
    shell.let_go()
    read_terminal(ours)
    os.close(ours)
    assert process.wait(30) == 0


def test_logs_on_a_terminal_are_aligned(shell: Shell) -> None:
    """The names stand in a column, each in a colour of its own."""
    shell.env["PYTHONIOENCODING"] = "utf-8"
    shell.run("run", shell.config("a", "print('one')"), shell.config("longer", "print('two')"))
    _, seen = on_a_terminal(shell, "logs")
    lines = [line for line in seen.splitlines() if line.endswith(("one", "two"))]
    assert {re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines} == {"a      │ one", "longer │ two"}
    assert len({line[: line.index("m")] for line in lines}) == 2
