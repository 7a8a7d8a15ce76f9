"""`serve`: what it says, and where it refuses to begin."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.adapters.cli import screen, serve
from parallel_ml.adapters.cli.main import main
from parallel_ml.adapters.web.settings import ServerSettings

TOKEN = "a-token-of-the-tests"  # noqa: S105 - of no server that lives on


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """Return the settings of a server on the loopback."""
    return ServerSettings(root=tmp_path, token=TOKEN, port=1234)


def test_without_the_extra_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command; nothing is imported."""
    monkeypatch.setattr(serve, "find_spec", lambda _name: None)
    assert main(["serve"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "pip install 'parallel-ml[serve]'" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--root", "no-such-folder"], "is no folder"),
        (["--port", "http"], "must be a port"),
        (["--port", "65536"], "must be a port"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything listens."""
    assert main(["serve", "--port", "0", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "port 0 is any that is free" in capsys.readouterr().err


def test_a_weak_token_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the address."""
    monkeypatch.setenv("PARALLEL_ML_TOKEN", "secret")
    assert main(["serve", "--port", "0"]) == 2
    told = capsys.readouterr()
    assert "too short" in told.err
    assert "secret" not in told.out + told.err


def test_the_token_is_shown_on_a_terminal_alone(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a fragment, which a browser never sends; a pipe may be a log."""
    serve._announce(settings, "the file", as_json=False)
    serve._announce(settings, "the file", as_json=True)
    piped = capsys.readouterr().out
    assert settings.token not in piped
    assert json.loads(piped.splitlines()[1])["url"] == "http://127.0.0.1:1234/"
    monkeypatch.setattr(screen, "is_terminal", lambda _stream: True)
    serve._announce(settings, "the file", as_json=False)
    assert f"http://127.0.0.1:1234/#token={settings.token}\n" in capsys.readouterr().out


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])  # noqa: S104 - nothing listens
def test_an_open_server_warns(tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Other machines may reach it; those of the loopback none but this one."""
    options: dict[str, Any] = {"root": tmp_path, "token": TOKEN, "port": 1}
    serve._announce(ServerSettings(host=host, **options), "the file", as_json=False)
    assert ("warning: other machines" in capsys.readouterr().err) == (host == "0.0.0.0")  # noqa: S104
