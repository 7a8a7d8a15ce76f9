"""The runs that the server shows: found by their ids, each read by one thread at a time, the newest used kept open."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from parallel_ml.adapters.web.problems import not_found
from parallel_ml.adapters.web.settings import ServerSettings
from parallel_ml.errors import StoreError, UsageError
from parallel_ml.runtime.client import RunClient

RUN_ID = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$"
JOB_NAME = r"^[A-Za-z0-9._-]{1,100}$"
TASK_ID = r"^[A-Za-z0-9_][A-Za-z0-9._~-]{0,201}$"
MOST_OPEN = 64
_RUN = re.compile(RUN_ID)


@dataclass
class _Opened:
    """A run that is kept open."""

    client: RunClient
    lock: threading.Lock = field(default_factory=threading.Lock)


class Runs:
    """The runs of a server."""

    def __init__(self, settings: ServerSettings) -> None:
        """Open none yet."""
        self._settings = settings
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def opened(self, run: str) -> Iterator[RunClient]:
        """Lend a run, to nobody else meanwhile.

        Raises:
            Problem: There is none of this id.
        """
        opened = self._find(run)
        with opened.lock:
            yield opened.client

    def fresh(self, run: str) -> RunClient:
        """Return a client of a run that nobody else has.

        Raises:
            Problem: There is none of this id.
        """
        if not _RUN.fullmatch(run):
            raise _unknown(run)
        settings = self._settings
        try:
            client = RunClient.find(run, runs_dir=settings.runs_dir, environ=settings.environ, cwd=settings.root)
        except UsageError:
            raise _unknown(run) from None
        except StoreError as error:
            raise not_found(f"run {run} cannot be read: {error.reason}") from error
        if run not in (client.run_id, client.dir.name):  # the beginning of an id will not do, nor a name
            raise _unknown(run)
        return client

    def _find(self, run: str) -> _Opened:
        with self._lock:
            opened = self._opened.get(run)
            if opened is not None and opened.client.exists():
                self._opened.move_to_end(run)
                return opened
        made = _Opened(self.fresh(run))
        with self._lock:
            opened = self._opened[run] = made
            while len(self._opened) > MOST_OPEN:
                self._opened.popitem(last=False)
            return opened


def task_of(run: str, job: str) -> str:
    """Return the id of a task: a job of a run, as one segment of a URL."""
    return f"{run}~{job}"


def split_task(task: str) -> tuple[str, str | None]:
    """Return run and job of a task; of a run alone its only job is meant."""
    run, tilde, job = task.partition("~")
    return run, job if tilde else None


def _unknown(run: str) -> Exception:
    return not_found(f"there is no run {run[:100]!r}", "GET /api/v1/runs lists the runs")
