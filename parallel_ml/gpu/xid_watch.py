"""Hearing of Xids through NVML's event set, and remembering the last one of each card for other processes to show.

On Linux the driver keeps each event until it is asked for, so that a short wait at each look misses none (on Windows it
would tell the last one only). An event set tells only of what happens after a card was registered in it. NVML does not
support events under WSL, in some virtual machines, and of single MIG instances: there nothing is heard, and nothing
said. A card in MIG mode tells of what concerns all of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parallel_ml.errors import StoreError
from parallel_ml.gpu.nvml_library import CardLost, NoNvml, Nvml
from parallel_ml.gpu.registry import check_folder, default_folder
from parallel_ml.gpu.xid import XidEvent
from parallel_ml.store.files import make_dir, read_json, write_json
from parallel_ml.store.identity import identify

_XID_CRITICAL = 0x8
"""nvmlEventTypeXidCriticalError (nvml.h): all Xids, whatever its name says."""
_WAIT_MS = 1
"""Where nothing has happened; the loop that looks must not be held up."""
_MOST_AT_ONCE = 100
"""A card that fails may report the same thing over and over."""
_VERSION = 1


class XidWatch:
    """Listens to cards from their registration on."""

    def __init__(self, nvml: Nvml) -> None:
        """Listen to no card yet."""
        self._nvml = nvml
        self._set: Any = None
        self._uuids: dict[int, str] = {}

    def cover(self, uuid: str, handle: Any) -> None:
        """Listen to a card; again does nothing, and neither does a card that has no events."""
        address = _address(handle)
        if self._uuids.get(address) == uuid:
            return
        self._uuids[address] = uuid
        with contextlib.suppress(NoNvml, CardLost):
            if self._set is None:
                self._set = self._nvml.ask("", "nvmlEventSetCreate")
            if self._set is not None:
                self._nvml.ask(uuid, "nvmlDeviceRegisterEvents", handle, _XID_CRITICAL, self._set)

    def drain(self) -> list[XidEvent]:
        """Return what has been reported since the last call; `uuid` is the card's, never a MIG instance's."""
        found: list[XidEvent] = []
        while self._set is not None and len(found) < _MOST_AT_ONCE:
            try:
                event = self._nvml.ask("", "nvmlEventSetWait_v2", self._set, _WAIT_MS)
            except (NoNvml, CardLost):  # a lost card answers no question, and is told of by that
                break
            if event is None:  # a timeout: there is no more
                break
            uuid = self._uuids.get(_address(event.device))
            if uuid is not None and event.eventType == _XID_CRITICAL:
                found.append(XidEvent(uuid, int(event.eventData), time.time()))
        return found

    def close(self) -> None:
        """Free the set; a later `cover` makes a new one."""
        events, self._set = self._set, None
        self._uuids.clear()
        if events is not None:
            with contextlib.suppress(NoNvml, CardLost):
                self._nvml.ask("", "nvmlEventSetFree", events)


class XidRecord:
    """The last Xid of each card since the machine was started, in a file that all runs of this user share.

    Two runs that write at once have heard the same, so that it does not matter whose file stays.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Touch nothing yet.

        Args:
            folder: Where the file is; None is beside the leases.
        """
        self._path = (folder or default_folder(os.environ)) / "xids.json"

    def read(self) -> dict[str, XidEvent]:
        """Return the last event of each card; what cannot be read is not known."""
        try:
            check_folder(self._path.parent)
            told: Any = read_json(self._path)
            if not told or told["boot_id"] != _boot_id():
                return {}
            return {uuid: XidEvent(uuid, int(one["xid"]), float(one["at"])) for uuid, one in told["xids"].items()}
        except (StoreError, TypeError, KeyError, ValueError, AttributeError):
            return {}

    def note(self, last: Mapping[str, XidEvent]) -> None:
        """Write down the last event of some cards; without room for it, nothing happens."""
        told = {**self.read(), **last}
        xids = {uuid: {"xid": one.xid, "at": one.at} for uuid, one in told.items()}
        with contextlib.suppress(StoreError):
            make_dir(self._path.parent, 0o700)
            check_folder(self._path.parent)
            write_json(self._path, {"v": _VERSION, "boot_id": _boot_id(), "xids": xids}, 0o600)


def _address(handle: Any) -> int:
    """Return the pointer that a handle is: the one in an event is another object."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _boot_id() -> str:
    me = identify()
    return "" if me is None else me.boot_id
