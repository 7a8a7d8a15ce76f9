"""What `doctor` found: one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What, in a word or two; stable.
        state: `ok`; `warning`: something will not work or not well; `problem`: runs will fail.
        text: What was found.
        advice: What to do about it, "" where nothing is to be done.
    """

    name: str
    state: State
    text: str
    advice: str = ""
