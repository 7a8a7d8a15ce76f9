"""Copying code: what is copied, what is linked, what is left where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parallel_ml.runtime import snapshot as module
from parallel_ml.runtime.secret_files import is_secret_name, names_channels
from parallel_ml.runtime.snapshot import TooMuch, copy_snapshot, take_snapshot
from parallel_ml.store.files import read_json


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return an empty folder with a neighbour."""
    (tmp_path / "home" / "beside").mkdir(parents=True)
    (tmp_path / "home" / "project").mkdir()
    return tmp_path / "home" / "project"


def take(base: Path, *names: str, into: str = "0") -> Path:
    """Take a snapshot of some files and return its tree."""
    folder = base.parents[1] / "code" / into
    return take_snapshot(base, names, folder, apart=base / "runs").tree


def write(base: Path, name: str, text: str = "x = 1\n") -> Path:
    """Write a file and the folders above it."""
    path = base / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_is_not_copied_is_linked_at_the_topmost_place(base: Path) -> None:
    """So that paths beside the code lead where they did."""
    write(base, "src/deep/a.py")
    write(base, "src/data/1/b.bin")
    write(base, "models/c.bin")
    tree = take(base, "src/deep/a.py")
    assert not (tree / "src" / "deep").is_symlink()
    assert (tree / "src" / "data").readlink() == base / "src" / "data"
    assert (tree / "models").readlink() == base / "models"
    assert (tree / ".." / "beside").resolve() == base.parent / "beside"


def test_editing_the_original_changes_no_copy(base: Path) -> None:
    """It is a copy, not a link of any kind; its time is kept, and nobody else may write it."""
    original = write(base, "a.py", "old")
    original.chmod(0o777)
    os.utime(original, (1, 1))
    tree = take(base, "a.py")
    original.write_text("new")
    told = (tree / "a.py").stat()
    assert ((tree / "a.py").read_text(), told.st_mode & 0o777, told.st_mtime) == ("old", 0o755, 1)
    assert (tree.parent.parent.stat().st_mode & 0o777, tree.parent.stat().st_mode & 0o777) == (0o700, 0o700)


@pytest.mark.parametrize(
    "name", [".env", "deploy/.env.prod", "notifier_config.yaml", "a/key.pem", "id_rsa", ".netrc", "credentials-x.json"]
)
def test_a_file_that_may_hold_a_secret_is_only_linked(base: Path, name: str) -> None:
    """A program that reads it finds it; the run's folder has no copy."""
    path = write(base, name, "secret")
    write(base, "a.py")
    tree = take(base, name, "a.py")
    assert (tree / name).read_text() == "secret"
    assert (tree / name).resolve() == path
    assert read_json(tree.parent.with_name("0.json"))["left_out"] == {name: "may hold a secret"}


def test_a_configuration_with_notifications_is_only_linked(base: Path) -> None:
    """Its channels hold passwords."""
    write(base, "a.yaml", "command: x\nnotifications:\n  email: {password: p}\n")
    write(base, "b.yaml", "command: x\n")
    tree = take(base, "a.yaml", "b.yaml")
    assert ((tree / "a.yaml").is_symlink(), (tree / "b.yaml").is_symlink()) == (True, False)


@pytest.mark.parametrize("name", ["notif.json", "job.conf", "job.yaml.bak", "job", "a/job.txt"])
def test_a_configuration_of_any_ending_is_only_linked(base: Path, name: str) -> None:
    """As `run` reads files of any."""
    path = write(base, name, '{"name": "x", "notifications": {"email": {"password": "p"}}}')
    write(base, "a.py")
    assert (take(base, name, "a.py") / name).resolve() == path


def test_a_program_that_has_the_word_is_copied(base: Path) -> None:
    """It is code, and no configuration."""
    names = [write(base, name, 'x = {"notifications": 1}\n').name for name in ("a.py", "b.js", "c.sh", "d.ipynb")]
    tree = take(base, *names)
    assert not any((tree / name).is_symlink() for name in names)


def test_a_file_that_is_named_private_is_only_linked(base: Path) -> None:
    """A configuration of this run, say, whatever it looks like."""
    path = write(base, "job.py", '"notific\\u0061tions": {password: p}\n')
    (base / "link.py").symlink_to("job.py")
    write(base, "a.py")
    folder = base.parents[1] / "code" / "0"
    tree = take_snapshot(base, ["job.py", "a.py"], folder, apart=base / "runs", private={str(path)}).tree
    assert ((tree / "job.py").is_symlink(), (tree / "a.py").is_symlink()) == (True, False)


@pytest.mark.parametrize(
    "text",
    [
        b"notifications:\n",
        b'"notifications" : {}',
        b"{notifications: 1}",
        b"a: 1\n'notifications': 2",
        b"a: 1\n? notifications\n: {password: p}",
        b"? notifications # here\n# and\n: {password: p}",
        b"? !!str 'notifications'\n: {password: p}",
        b"a: 1\n--- {a: [1, {b: 2}], notifications: {password: p}}",
        b'\xef\xbb\xbf{"a": {"b": 1}, "notifications": {"password": "p"}}',
        b"x: &x {notifications: {password: p}}\n<<: *x\n",
        b"#!/usr/bin/env runner\nnotifications: {password: p}\n",
        b"{% if x %}\n  notifications: {password: p}\n{% endif %}\n",
        b'{"a": 1, "notifications": {"password": "p"},}  # no JSON ]',
    ],
)
def test_notifications_are_found_however_they_are_written(text: bytes) -> None:
    """YAML has several ways."""
    assert names_channels(text)


def test_notifications_in_a_comment_or_another_word_are_none() -> None:
    """So that few files are left out for nothing."""
    assert not names_channels(b"# notifications: none\nnotifications_seen: 1\n")


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": {"notifications": 1}, "b": ["notifications"]}',
        b"a: {notifications: 1}\nb: 'notifications'\n? [notifications: 1]\n: 2\n",
        b"we send notifications by mail",
        b"\0notifications: 1",
        b'#!/bin/sh\nx=1\necho "notifications: $x"\n',
        b"#!/usr/bin/env python3\nimport x\nnotifications: dict = {}\nx.y()\n",
    ],
)
def test_the_word_elsewhere_is_no_channel(text: bytes) -> None:
    """Below the top it is data of something else; a binary file or a script is none."""
    assert not names_channels(text)


@pytest.mark.parametrize("text", [b"[" * 50_000, b"{a: " * 20_000, b'{"a":' * 20_000])
def test_a_deep_text_is_no_trouble(text: bytes) -> None:
    """Nor is one that is no YAML: it is left out, to be sure."""
    assert names_channels(text + b"notifications: 1")


def test_ordinary_names_are_no_secrets() -> None:
    """Code is copied."""
    assert not any(map(is_secret_name, ("train.py", "env.py", "environment.yml", "keys.py", "src/tokenizer.json")))


def test_a_large_file_is_linked(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the total would become too large; code comes before what is none."""
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(module, "MAX_TOTAL_BYTES", 150)
    for name, size in {"large.py": 101, "a.txt": 90, "b.py": 100}.items():
        write(base, name, "x" * size)
    tree = take(base, "large.py", "a.txt", "b.py")
    assert {name: (tree / name).is_symlink() for name in ("large.py", "a.txt", "b.py")} == {
        "large.py": True,
        "a.txt": True,
        "b.py": False,
    }


def test_a_folder_full_of_data_is_one_link(base: Path) -> None:
    """A hundred pictures are no code."""
    names = [write(base, f"images/{number}.png").relative_to(base).as_posix() for number in range(101)]
    write(base, "a.py")
    tree = take(base, "a.py", *names)
    assert (tree / "images").readlink() == base / "images"


def test_runs_and_caches_are_neither_copied_nor_linked(base: Path) -> None:
    """A run would hold the runs before it, and old byte code may be taken for new."""
    for name in ("runs/r/log.txt", "__pycache__/a.pyc", ".git/config", "a.py"):
        write(base, name)
    tree = take(base, "runs/r/log.txt", "a.py")
    assert sorted(path.name for path in tree.iterdir()) == ["a.py"]


def test_links_lead_where_they_did(base: Path) -> None:
    """Within the project to the copy, out of it to the original."""
    write(base, "a.py", "old")
    write(base.parent, "beside/data.txt", "data")
    (base / "inner.py").symlink_to("a.py")
    (base / "outer").symlink_to("../beside")
    tree = take(base, "a.py", "inner.py", "outer")
    (base / "a.py").write_text("new")
    assert ((tree / "inner.py").read_text(), (tree / "outer" / "data.txt").read_text()) == ("old", "data")


def test_what_went_away_is_passed_over(base: Path) -> None:
    """A tracked file that was deleted, say."""
    write(base, "a.py")
    tree = take(base, "gone.py", "gone/b.py", "a.py")
    assert [path.name for path in tree.iterdir()] == ["a.py"]


def test_too_many_files_are_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a snapshot would be none."""
    monkeypatch.setattr(module, "MAX_FILES", 2)
    names = [write(base, f"{number}.py").name for number in range(3)]
    with pytest.raises(TooMuch, match="more than 2 files"):
        take(base, *names)


def test_a_snapshot_is_copied_without_what_was_written_into_it(base: Path) -> None:
    """And says which of its files the job changed."""
    write(base, "src/a.py", "old")
    write(base, "b.py")
    write(base, "data/c.bin")
    tree = take(base, "src/a.py", "b.py")
    (tree / "src" / "a.py").write_text("changed")
    (tree / "left.txt").write_text("behind")
    again, changed = copy_snapshot(tree.parent, tree.parents[1] / "1")
    assert changed == ["src/a.py"]
    assert sorted(path.name for path in again.tree.iterdir()) == ["b.py", "data", "src"]
    assert again.root == base
