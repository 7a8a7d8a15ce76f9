"""How a monitor's message reaches a person: the user's own notifiers, and the channels of `notifier_config.yaml`.

What cannot be delivered now stays in a folder beside the reports, and goes out when the next monitor starts there, the
next run, or with `notify flush`.
"""

from __future__ import annotations

import functools
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from parallel_ml.errors import ParallelMLError, StoreError
from parallel_ml.notify.channel import Channel, Fate, Notifier
from parallel_ml.notify.dispatcher import DEADLINE_S, Dispatcher
from parallel_ml.notify.endpoint import shared_folder
from parallel_ml.notify.left import Left
from parallel_ml.notify.message import Message
from parallel_ml.notify.registry import build_channels
from parallel_ml.notify.render import plain
from parallel_ml.notify.route import Route
from parallel_ml.notify.scrub import Scrubber
from parallel_ml.notify.scrubbed import scrubbed
from parallel_ml.notify.secret_parts import secrets_in
from parallel_ml.notify.settings import NotificationSettings
from parallel_ml.training_monitor.log import MonitorLog

CONFIG = "notifier_config.yaml"
_LEFT_S, _LEAST_S = 75.0, 5.0
"""How long it is tried to send what earlier monitors left: all of it, and what each left in any case."""


def read_settings(named: Path | str | None) -> NotificationSettings:
    """Return what a notification file asks for; None is that of the folder we are in, and the environment.

    Raises:
        ConfigError: It is not there, cannot be read, or is wrong.
    """
    from parallel_ml.config.notifications import load_notifications  # noqa: PLC0415 - only where something is set

    return load_notifications(named, cwd=Path.cwd(), environ=os.environ)


def found_settings() -> NotificationSettings | None:
    """Return what the folder we are in and the environment ask for; None where nothing is set at all.

    Raises:
        ConfigError: It is wrong.
    """
    if not (Path(CONFIG).exists() or Path(".env").exists() or os.environ.get("DINGTALK_WEBHOOK")):
        return None
    return read_settings(None)


class Courier:
    """Sends the messages of one monitoring. No method raises for what a network, a provider or a channel does."""

    def __init__(
        self, left: Left, notes: MonitorLog, settings: NotificationSettings | None, notifiers: Sequence[Notifier] = ()
    ) -> None:
        """Make the channels.

        Args:
            left: The folder above those of each monitoring's messages.
            notes: Where replies are told.
            settings: The channels of a file, or None.
            notifiers: The user's own.
        """
        self._left, self._notes = left, notes
        self.settings = settings or NotificationSettings()
        self.language = self.settings.language
        channels = [one for one in notifiers if _is_channel(one)]
        self._notifiers = [one for one in notifiers if one not in channels]
        self._routes = [*self._made_routes(), *(self._own_route(cast("Channel", one)) for one in channels)]
        self.scrubber = Scrubber(secrets_in([channel.options for channel in self.settings.channels]))

    @property
    def languages(self) -> list[str]:
        """In which languages a message is wanted."""
        own = [self.language] if self._notifiers or not self._routes else []
        return list(dict.fromkeys([*own, *(route.language for route in self._routes)]))

    @property
    def is_idle(self) -> bool:
        """Whether nobody is to be told."""
        return not self._routes and not self._notifiers

    def send_left(self) -> None:
        """Begin to send what earlier monitors left, in a thread of its own."""
        if self._routes and self._left.folder.is_dir():
            threading.Thread(target=self._send_left, name="parallel_ml-left-messages", daemon=True).start()

    def send(self, key: str, *messages: Message, deadline_s: float = DEADLINE_S) -> None:
        """Send a message through everything; return when it is over, or at the deadline.

        Args:
            key: Names the monitoring; a folder is called so.
            messages: What to send, in each of `languages`; known secrets, and what looks like one, are taken out.
            deadline_s: How long to wait at most. A provider that hangs goes on hanging in a thread of its own.
        """
        messages = tuple(scrubbed(message, self.scrubber) for message in messages)
        until = time.monotonic() + deadline_s
        work: list[Callable[[], object]] = []
        if self._routes:
            self._left.remember(os.environ)
            work.append(functools.partial(self._deliver, self._left.folder / key, messages, deadline_s))
        mine = next((one for one in messages if one.data.get("language") == self.language), messages[0])
        work += [functools.partial(self._tell, notifier, mine) for notifier in self._notifiers]
        threads = [threading.Thread(target=task, name="parallel_ml-message", daemon=True) for task in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until + 1.0 - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            self._notes.problem(f"a message is not through after {deadline_s:.0f} s; nobody waits for it any longer")

    def _send_left(self) -> None:
        try:
            until = time.monotonic() + _LEFT_S
            for folder in self._left.outboxes():
                self._deliver(folder, deadline_s=max(_LEAST_S, until - time.monotonic()))
        except Exception as error:  # noqa: BLE001 - nobody waits for this thread
            self._notes.problem("messages of an earlier training could not be sent", error)

    def _made_routes(self) -> list[Route]:
        """Make each channel by itself: one whose package is missing must not silence the others."""
        routes = []
        for asked in self.settings.channels:
            try:
                channels = build_channels(replace(self.settings, channels=(asked,)), self._notes.problem)
            except ParallelMLError as error:
                self._notes.problem(f"no messages by {asked.name}: {error}")
                continue
            except Exception as error:  # noqa: BLE001 - protects the training
                self._notes.problem(f"no messages by {asked.name}: the channel cannot be made", error)
                continue
            routes += [Route(channel, asked.min_severity, asked.quiet_hours, asked.language) for channel in channels]
        return routes

    def _own_route(self, channel: Channel) -> Route:
        """Return the way to a channel that the user's program made.

        Its name tells it from others in the outbox: what is left is sent by a monitor that has the same one, alone.
        """
        endpoint = getattr(channel, "endpoint", "")
        return Route(channel, language=self.language, name=f"{channel.name}-{endpoint[:8] or 'own'}")

    def _deliver(self, folder: Path, messages: Sequence[Message] = (), deadline_s: float = DEADLINE_S) -> None:
        """Send what is in an outbox, and one message more."""
        try:
            dispatcher = Dispatcher(folder, self._routes, say=self._notes.problem, shared=shared_folder(os.environ))
        except StoreError as error:
            if messages:  # else another monitor sends these
                self._notes.problem(f"no messages: {error}")
            return
        for message in messages:
            dispatcher.put(message)
        dispatcher.start()
        left = dispatcher.close(deadline_s)
        self._notes.info(f"messages sent: {dispatcher.sent}")
        if any(one.waiting for one in left):
            self._left.remember(os.environ)  # another monitor that was through may have made it forgotten
        for one in left:
            later = "; the next monitor sends it, or: parallel-ml notify flush" if one.waiting else ""
            tell = self._notes.info if one.quiet_until else self._notes.problem
            tell(f"{one.line}{later}")
        if not any(one.waiting for one in left):
            shutil.rmtree(folder, ignore_errors=True)
            self._left.forget_if_empty(os.environ)

    def _tell(self, notifier: Notifier, message: Message) -> None:
        name = getattr(notifier, "name", type(notifier).__name__)
        try:
            deliver = getattr(notifier, "deliver", None)
            reply = deliver(message) if callable(deliver) else self._say(notifier, message)
        except Exception as error:  # noqa: BLE001 - the user's own code must not hurt the training
            self._notes.problem(f"{name}: sending failed", error)
            return
        fate = getattr(reply, "fate", Fate.SENT)
        if fate is Fate.SENT:
            self._notes.info(f"{name}: sent")
        else:
            self._notes.problem(f"{name}: {fate}: {getattr(reply, 'text', '')}")

    def _say(self, notifier: Notifier, message: Message) -> object:
        text = plain(message, language=self.language, title=False)
        return notifier.send(message.title, text, level=message.level.value)


def _is_channel(notifier: Notifier) -> bool:
    """Whether a notifier is more than `send`: then its messages wait on disk, and keep to its limits."""
    return all(hasattr(notifier, name) for name in ("deliver", "limits", "name", "preview"))
