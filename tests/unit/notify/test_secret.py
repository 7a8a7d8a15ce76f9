"""Secrets do not get out by accident."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.notify.secret import MASK, Secret, mask, shown_url

TEXT = "p/ä<&\"' 7+="


@dataclass(frozen=True)
class Account:
    """Something that holds a secret."""

    password: Secret


def test_a_secret_shows_nowhere() -> None:
    """Neither by itself nor within something else."""
    secret = Secret(TEXT)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>3}", f"{secret!r}", repr(Account(secret))):
        assert TEXT not in shown
        assert MASK in shown
    assert secret.reveal() == TEXT


def test_a_secret_is_not_written_down() -> None:
    """Neither pickled nor as JSON."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Account(Secret(TEXT)))
    with pytest.raises(TypeError):
        json.dumps({"password": Secret(TEXT)})


def test_a_secret_can_be_copied_and_compared() -> None:
    """A dataclass with one stays an ordinary dataclass."""
    secret = Secret(TEXT)
    assert copy.deepcopy(secret) is secret
    assert asdict(Account(secret)) == {"password": Secret(TEXT)}
    assert Secret(TEXT) != Secret("other")
    assert Secret(TEXT) != TEXT
    assert len({secret, Secret(TEXT), Secret(secret)}) == 1
    assert not Secret("")


@given(st.text(min_size=4, max_size=30))
def test_a_mask_covers_every_way_of_writing(text: str) -> None:
    """As it is, in Python, and in JSON."""
    covered = mask(f"a {text} b {text!r} c {json.dumps(text)} d", [Secret(text), None])
    assert covered.count(MASK) >= 3 or text in MASK


def test_a_mask_covers_a_secret_within_another() -> None:
    """The longer one first, so that no half of it is left."""
    assert mask("see token-long", ["token", Secret("token-long")]) == f"see {MASK}"


@pytest.mark.parametrize("url", ["https://h/%zz?t=1", "http://[::1]:8/t", "not a url", "https://[broken", ""])
def test_a_url_is_shown_without_what_may_be_a_token(url: str) -> None:
    """Whatever it looks like."""
    assert "t=1" not in shown_url(url)
    assert shown_url(url).endswith(MASK)
