"""What a shim is told to do with its process tree, and how that is done: stop, pause, freeze, thaw, kill."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

from parallel_ml.runtime.shim import tree


class Orders:
    """Obeys the newest order, once.

    Attributes:
        asked: `stop` or `pause` once the job was asked to end, else None. It is what reports are answered with.
        held: How often the tree was held because it could not save and leave when it was told to pause; 0 while it
            is not held.
        asks: Whether the job has ever asked whether it should stop.
        told: Whether it was answered since it was asked to end.
        kill_at: When the tree is killed, on the monotonic clock, or None.
    """

    def __init__(self, attempt_dir: str, plan: dict[str, Any], on_held: Callable[[], None]) -> None:
        """Start with none.

        Args:
            attempt_dir: The attempt's folder, where `order.json` appears.
            plan: What `start.json` says.
            on_held: Called when `held` has changed.
        """
        self._path, self._plan, self._on_held = f"{attempt_dir}/order.json", plan, on_held
        self.asked: str | None = None
        self.held = self._times_held = 0
        self.asks = self.told = False
        self.kill_at: float | None = None
        self._seen: tuple[str, object] = ("", None)

    @property
    def killed(self) -> bool:
        """Whether nothing gets a grace any more."""
        return self._seen[0] == "kill"

    def answer(self, *, asking: bool) -> str | None:
        """Return what a report is answered with."""
        self.asks = self.asks or asking
        self.told = self.told or (asking and self.asked is not None)
        return self.asked

    def obey(self) -> None:
        """Carry out the newest order."""
        try:
            with open(self._path, encoding="utf-8") as stream:
                order = json.load(stream)
            command, seen = str(order["command"]), (order["command"], order.get("id"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return
        if seen == self._seen:
            return
        self._seen = seen
        if command == "stop":
            self.stop()
        elif command == "pause":
            self._pause()
        elif command == "kill":
            self.asked = self.asked or "stop"
            self.kill_at = time.monotonic()
        elif command == "freeze":
            self._freeze()
        elif command == "thaw":
            self._thaw()

    def stop(self) -> None:
        """Ask everybody to end; who is asked again gets no grace anew."""
        kill_at = time.monotonic() + self._plan["grace_s"]
        if self.asked == "stop" and self.kill_at is not None:
            kill_at = min(kill_at, self.kill_at)
        self.asked, self.kill_at = "stop", kill_at
        tree.signal_all(signal.SIGTERM)
        tree.signal_all(signal.SIGCONT)  # TERM does nothing to a frozen process
        self._let_go()

    def in_time(self) -> float | None:
        """Return the seconds until `overdue` is worth a call, or None."""
        return None if self.kill_at is None else max(0.0, self.kill_at - time.monotonic())

    def overdue(self) -> None:
        """Do what follows when the time to end by itself is over."""
        if self.kill_at is None or time.monotonic() < self.kill_at:
            return
        if self.asked == "pause" and not self._plan.get("built_in"):
            self._hold()  # whatever it is at, it must not lose it
            return
        tree.signal_all(signal.SIGKILL)
        self.kill_at = time.monotonic() + 1.0

    def _pause(self) -> None:
        """Let the job save and leave, where it can; hold it in memory where it cannot."""
        number = int(self._plan.get("pause_signal") or signal.SIGUSR1)
        catchers = [pid for pid in tree.descendants() if tree.catches(pid, number)]
        if self.held or not (catchers or self.asks or self._plan.get("built_in")):
            self._hold()
            return
        self.asked, self.told = "pause", False
        self.kill_at = time.monotonic() + self._plan.get("pause_patience_s", self._plan["grace_s"])
        if catchers:
            tree.signal_some(catchers, number)
            self.told = True
        elif self._plan.get("built_in"):  # it has only begun: nothing can be lost
            tree.signal_all(signal.SIGTERM)

    def _hold(self) -> None:
        self.kill_at = None
        if not self.told:
            self.asked = None
        self._freeze()
        self._times_held += 1
        self.held = self._times_held
        self._on_held()

    @staticmethod
    def _freeze() -> None:
        tree.signal_all(signal.SIGSTOP)
        tree.signal_all(signal.SIGSTOP)  # what was forked in between

    def _thaw(self) -> None:
        tree.signal_all(signal.SIGCONT)
        self._let_go()

    def _let_go(self) -> None:
        if self.held:
            self.held = 0
            self._on_held()
