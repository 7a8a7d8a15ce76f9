"""Colour for lines that are laid out."""

from __future__ import annotations

import re

from parallel_ml.adapters.cli.colours import in_colour, job_colour, styled


def uncoloured(text: str) -> str:
    """Return text without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_states_are_coloured_and_names_are_not() -> None:
    """A name that contains the word stays plain, and no text changes."""
    line = "run failed-1: 1 failed, 1 running"
    assert re.findall(r"\x1b\[[0-9;]+m(\w+)\x1b\[0m", styled(line)) == ["failed", "running"]
    assert uncoloured(styled(line)) == line


def test_a_bar_and_a_curve_are_told_apart() -> None:
    """By their colours, a part of a cell belonging to the bar."""
    found = re.findall(r"\x1b\[[0-9;]+m([^\x1b]+)\x1b\[0m", styled("a  ██▌░░  ▁▃▇"))
    assert found == ["██▌", "░░", "▁▃▇"]


def test_the_best_is_marked() -> None:
    """At the beginning of its row."""
    assert styled("config2 *  ok").startswith("\x1b[1;32mconfig2 *\x1b[0m")


def test_neighbours_have_different_colours() -> None:
    """So that interleaved lines are told apart."""
    assert len({job_colour("x", place) for place in range(6)}) == 6


def test_no_color_is_heeded() -> None:
    """By any value but the empty one."""
    assert in_colour({})
    assert in_colour({"NO_COLOR": ""})
    assert not in_colour({"NO_COLOR": "1"})
