"""Command lines that run the code of a snapshot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parallel_ml.runtime import pinned_main
from parallel_ml.runtime.pin import Pin, Pinned


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project whose snapshot is beside it; `data` is only linked, `sub` copied."""
    root, tree = tmp_path / "project", tmp_path / "code"
    for folder in (root, tree):
        (folder / "sub").mkdir(parents=True)
        (folder / "train.py").write_text("")
        (folder / "sub" / "go.sh").write_text("")
    (root / "data").mkdir()
    (root / "data" / "late.py").write_text("")
    (tree / "data").symlink_to(root / "data")
    return root


def pinned(root: Path, line: str, cwd: str = ".", packages: tuple[str, ...] = (), **env: str) -> Pinned:
    """Return what runs instead of a command line."""
    tree = root.with_name("code")
    return Pin(str(root), str(tree)).apply(line.split(), env, (root / cwd).resolve(), packages)


@pytest.mark.parametrize(
    ("line", "cwd", "there"),
    [
        ("python -u train.py --data data/x train.py", ".", "python -u {code}/train.py --data data/x train.py"),
        ("python ../train.py", "sub", "python {code}/train.py"),
        ("python {root}/train.py", "/", "python {code}/train.py"),
        ("torchrun --standalone train.py", ".", "torchrun --standalone {code}/train.py"),
        ("{root}/sub/go.sh -v", "/", "{code}/sub/go.sh -v"),
        ("python -u -m pkg a", "sub", "python -u {main} {code}/sub -m pkg a"),
        ("python -c pass a", ".", "python {main} {code} -c pass a"),
    ],
)
def test_the_program_is_that_of_the_snapshot(root: Path, line: str, cwd: str, there: str) -> None:
    """And no other word changes."""
    places = {"root": root, "code": root.with_name("code"), "main": pinned_main.__file__}
    found = pinned(root, line.format(**places), cwd)
    assert (" ".join(found.argv), found.whole) == (there.format(**places), True)


@pytest.mark.parametrize(
    ("line", "cwd"),
    [
        ("python data/late.py", "."),
        ("python other.py", "."),
        ("python -m pkg", "data"),
        ("python -I -m pkg", "."),
        ("bash -c train.py", "."),
        ("sleep 1", "."),
    ],
)
def test_what_is_not_in_the_snapshot_stays(root: Path, line: str, cwd: str) -> None:
    """It is started as it was written, and said to be so."""
    found = pinned(root, line, cwd)
    assert (" ".join(found.argv), found.whole) == (line, False)


def test_a_user_who_wants_no_working_folder_in_the_path_gets_none(root: Path) -> None:
    """PYTHONSAFEPATH is the user's own word."""
    assert not pinned(root, "python -m pkg", PYTHONSAFEPATH="1").whole


def test_pythonpath_leads_into_the_snapshot(root: Path) -> None:
    """Relative and absolute entries, and sources that are installed by a link; what is elsewhere stays in its place."""
    written = os.pathsep.join(("sub", "/elsewhere", str(root), str(root / "data")))
    found = pinned(root, "python train.py", PYTHONPATH=written, packages=(str(root / "sub"), "/elsewhere/too"))
    code = root.with_name("code")
    assert found.env["PYTHONPATH"] == os.pathsep.join((f"{code}/sub", "/elsewhere", str(code), str(root / "data")))


def test_without_pythonpath_none_is_set(root: Path) -> None:
    """The environment is the user's own."""
    assert pinned(root, "python train.py", HOME="/").env == {"HOME": "/"}
