"""The token: made once, kept where nobody else reads it, refused where it is weak."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from parallel_ml.adapters.web.token import read_token, token_path
from parallel_ml.errors import UsageError


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a state folder of its own."""
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def test_it_is_made_once_for_its_owner_alone(environ: dict[str, str]) -> None:
    """The second server has the same; the file is 0600, its folder 0700."""
    token, source = read_token(environ)
    path = token_path(environ)
    assert len(token) >= 40
    assert source == str(path)
    assert read_token(environ) == (token, source)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208


def test_the_variable_comes_first(environ: dict[str, str]) -> None:
    """And no file is made then."""
    assert read_token({**environ, "PARALLEL_ML_TOKEN": "x" * 20}) == ("x" * 20, "$PARALLEL_ML_TOKEN")
    assert not token_path(environ).exists()


@pytest.mark.parametrize(
    "weak", ["", "short", "x" * 15, "with a space in it", "schlüssel-schlüssel", "a,b,c,d,e,f,g,h,i"]
)
def test_a_weak_one_is_refused(environ: dict[str, str], weak: str) -> None:
    """Too short, or nothing that a header could say."""
    with pytest.raises(UsageError, match="the token of"):
        read_token({**environ, "PARALLEL_ML_TOKEN": weak})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_one_that_others_can_read_is_refused(environ: dict[str, str], mode: int) -> None:
    """It may have been read."""
    read_token(environ)
    token_path(environ).chmod(mode)
    with pytest.raises(UsageError, match="others can read the token"):
        read_token(environ)


def test_a_link_is_not_followed(environ: dict[str, str], tmp_path: Path) -> None:
    """Somebody might have put it there."""
    read_token(environ)
    path = token_path(environ)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match=str(path)):
        read_token(environ)
