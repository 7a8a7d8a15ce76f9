"""A channel that answers as it is told, and a time that passes when it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from parallel_ml.notify.channel import BaseChannel, Fate, Limits, Reply
from parallel_ml.notify.dispatcher import Dispatcher
from parallel_ml.notify.message import Kind, Level, Message
from parallel_ml.notify.moment import Moment
from parallel_ml.notify.route import Route

BEGIN = Moment(1000.0, 1_780_000_000.0)
SENT = Reply(Fate.SENT)


class ScriptedChannel(BaseChannel):
    """Keeps what it is sent; `answer` decides what it says."""

    def __init__(
        self, name: str = "robot", limits: Limits | None = None, answer: Callable[[Message], Reply] | None = None
    ) -> None:
        """Answer yes to everything unless told otherwise."""
        self.name, self.limits = name, limits or Limits()
        self.answer = answer or (lambda _: SENT)
        self.tried: list[Message] = []
        self.arrived: list[Message] = []

    def deliver(self, message: Message) -> Reply:
        """Answer."""
        self.tried.append(message)
        reply = self.answer(message)
        if reply.fate is Fate.SENT:
            self.arrived.append(message)
        return reply

    def preview(self, message: Message) -> str:
        """Show the title."""
        return message.title


class Simulation:
    """A dispatcher in a time of its own; its wall clock can be set at will."""

    def __init__(
        self,
        folder: Path,
        routes: Iterable[Route | ScriptedChannel],
        begin: Moment = BEGIN,
        shared: Path | None = None,
    ) -> None:
        """Open the outbox."""
        self.now, self.said = begin, list[str]()
        given = [one if isinstance(one, Route) else Route(one) for one in routes]
        self.dispatcher = Dispatcher(folder, given, say=self.said.append, clock=lambda: self.now, shared=shared)

    def put(self, *messages: Message) -> None:
        """Hand messages over."""
        for message in messages:
            self.dispatcher.put(message)

    def set_wall(self, step_s: float) -> None:
        """Step the wall clock."""
        self.now = Moment(self.now.steady, self.now.wall + step_s)

    def run(self, seconds: float) -> None:
        """Let time pass, as the dispatcher's thread would."""
        end = self.now.steady + seconds
        for _ in range(100_000):
            wait = self.dispatcher.step(self.now)
            left = end - self.now.steady
            if wait is None or wait > left:
                self.now = Moment(end, self.now.wall + left)
                return
            self.now = Moment(self.now.steady + wait, self.now.wall + wait)
        raise AssertionError("it never rests")

    def end(self) -> None:
        """Die as by kill -9: the lock goes, and nothing else is done."""
        self.dispatcher._outbox.close()


def note(number: int = 1, kind: Kind = Kind.FINISHED, level: Level = Level.INFO, job: str | None = None) -> Message:
    """Return a message about a job."""
    name = job or f"job{number}"
    return Message(f"run/{name}/{kind.value}/{number}", kind, level, f"{name} {kind.value}", run="run", job=name)


def failed(number: int) -> Message:
    """Return a message about a job that failed."""
    return note(number, Kind.FAILED, Level.CRITICAL)


def told_of(messages: Iterable[Message]) -> Counter[str]:
    """Return how many messages a person was told of by kind, those within digests included."""
    found: Counter[str] = Counter()
    for message in messages:
        found.update(message.data["counts"] if message.kind is Kind.DIGEST else {message.kind.value: 1})
    return found
