"""`state.json`: what the events of a run add up to, and what there is to tell of each job that has finished.

It is one JSON object, written with a job a line. So a reader that finds it as it was written takes it apart at the line
breaks, and reads of thousands of jobs only those that it needs. Of any other JSON it takes the state alone.
"""

from __future__ import annotations

import json

from parallel_ml.core.codec import encode
from parallel_ml.core.model import RunState
from parallel_ml.records import dataclass, replace
from parallel_ml.store.told_jobs import BETWEEN, FIELDS, told_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from parallel_ml.core.model import Job
    from parallel_ml.store.layout import RunLayout

_VERSION = 1
_TOLD = '}},"told":['
_END = "]}"
_FIELDS = json.dumps(FIELDS)
_json = json.JSONEncoder(separators=(",", ":")).encode
_read = json.JSONDecoder().decode  # half the time of json.loads, which looks for the encoding first


@dataclass(frozen=True)
class CachedText:
    """A cache that was read so far only where that is always needed.

    Attributes:
        offset: Where in the log it stands, in bytes.
        state: The run's state as JSON values, without its jobs.
        raw: Its jobs as JSON values by name, those that were read.
        lines: Those that were not, each as a line of JSON.
        states: Each job's state, where it was read.
        told: A line of JSON for each job, in their order; none where it was not read.
    """

    offset: int
    state: dict[str, Any]
    raw: dict[str, Any]
    lines: dict[str, str]
    states: dict[str, str]
    told: list[str]


class JobTexts:
    """What a cache says of a job, as JSON that is kept for as long as the job stays as it is.

    Attributes:
        untold: Whether it has finished, and what there is to tell of it is not in here.
    """

    __slots__ = ("job", "name", "state", "told", "untold")

    def __init__(self, layout: RunLayout, job: Job, *, tells: bool = True) -> None:
        """Encode a job, and read its files where it has finished and `tells` is set."""
        raw = encode(job, sparing=True)
        self.state = _json(job.state.value)
        self.name = _json(job.name)
        self.job = f"{self.name}:{_json(raw)}"
        self.untold = job.state.finished and not tells
        told = told_of(layout, raw) if job.state.finished and tells else None
        self.told = "null" if told is None else f"[{BETWEEN.join(map(_json, told))}]"


def cache_text(state: RunState, offset: int, texts: Mapping[str, JobTexts]) -> str:
    """Return the cache as JSON.

    Args:
        state: What is cached.
        offset: Where in the log it stands.
        texts: Each of its jobs.
    """
    jobs = [texts[name] for name in state.jobs]
    names, states = ",".join(job.name for job in jobs), ",".join(job.state for job in jobs)
    rest = _json(encode(replace(state, jobs={}), sparing=True))
    comma = "," if len(rest) > len("{}") else ""
    known = f'"fields":{_FIELDS},"names":[{names}],"states":[{states}]'
    head = f'{{"v":{_VERSION},"offset":{offset},{known},"state":{rest[:-1]}{comma}"jobs":{{'
    return "\n".join((head, ",\n".join(job.job for job in jobs), _TOLD, ",\n".join(job.told for job in jobs), _END, ""))


def read_cache(data: bytes) -> CachedText:
    """Return what a cache says.

    Raises:
        ValueError, KeyError, TypeError: It makes no sense.
    """
    text = data.decode()
    lines = text.split("\n")
    count = len(lines) // 2 - 2
    if count > 0 and len(lines) == 2 * count + 4 and lines[count + 1] == _TOLD and lines[-2:] == [_END, ""]:
        head = _read(lines[0] + "}}}")
        if len(head["names"]) == len(head["states"]) == count:
            names, jobs = head["names"], lines[1 : count + 1]
            told = lines[count + 2 : -2] if head["fields"] == list(FIELDS) else []
            return _cached(head, {}, dict(zip(names, jobs, strict=True)), head["states"], told)
    whole = _read(text)
    raw = whole["state"]["jobs"]
    if list(whole.get("names", raw)) != list(raw):
        message = "a cache that has lost some of its jobs"
        raise ValueError(message)
    return _cached(whole, raw, {}, (), [])


def read_lines(lines: list[str], opening: str, closing: str) -> Any:
    """Return the JSON value that some of a cache's lines are the parts of."""
    return _read(opening + "".join(lines).removesuffix(",") + closing)


def _cached(head: Any, raw: Any, lines: dict[str, str], states: Any, told: list[str]) -> CachedText:
    if head["v"] != _VERSION:
        message = "a cache of another version"
        raise ValueError(message)
    state = {name: value for name, value in head["state"].items() if name != "jobs"}
    return CachedText(head["offset"], state, dict(raw), lines, dict(zip(lines, states, strict=False)), told)
