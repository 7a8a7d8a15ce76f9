"""A user's own words for a kind of message: text with names in braces, which can do nothing but be replaced."""

from __future__ import annotations

import difflib
import string
from collections.abc import Mapping

PLACEHOLDERS = frozenset(
    {
        *("run", "job", "level", "title", "text", "summary", "time", "epoch_time", "dir", "log", "model"),
        *("state", "outcome", "error", "cause", "advice", "place", "lines", "attempt", "device", "batch_size"),
        *("epoch", "epochs", "metric", "value", "before", "best_epoch", "best_value", "figures"),
        *("alert", "severity", "done", "counts", "table", "winner", "links"),
    }
)
"""Every name that may stand in braces; one that a kind of message does not know is empty in it."""


def problem_of(template: str) -> str | None:
    """Return what is wrong with a template, or None.

    >>> problem_of("{job} ended"), problem_of("{jbo}")
    (None, '{jbo} is not a placeholder; did you mean {job}?')
    >>> problem_of("{job.__class__}"), problem_of("100 {")
    ('{job.__class__} is not a placeholder', 'a brace is not closed; write {{ or }} for one that is meant')
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        return "a brace is not closed; write {{ or }} for one that is meant"
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in PLACEHOLDERS:
            near = difflib.get_close_matches(name, PLACEHOLDERS, n=1)
            return f"{{{name}}} is not a placeholder" + (f"; did you mean {{{near[0]}}}?" if near else "")
        if form or conversion:
            return f"{{{name}}} takes no format"
    return "it is empty" if not template.strip() else None


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return a template that `problem_of` finds nothing wrong with, filled. Values are text and are not looked into.

    >>> fill("{job}: {{x}} {value}", {"job": "{a}"})
    '{a}: {x} '
    """
    return "".join(
        literal + (values.get(name, "") if name is not None else "")
        for literal, name, _, _ in string.Formatter().parse(template)
    )
