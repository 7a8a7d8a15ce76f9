"""A folder of its own for each test, and notifiers that keep what they are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from parallel_ml.notify.channel import Fate, Reply


@dataclass
class Keeping:
    """A notifier that keeps what it is to send."""

    sent: list[tuple[str, str, str]] = field(default_factory=list)

    def send(self, title: str, content: str, level: str = "info") -> Reply:
        """Keep a message."""
        self.sent.append((title, content, level))
        return Reply(Fate.SENT)


@pytest.fixture
def keeping() -> Keeping:
    """Return a notifier that keeps its messages."""
    return Keeping()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go into an empty folder, and return it."""
    monkeypatch.delenv("DINGTALK_WEBHOOK", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path
