"""What is recorded of a git checkout, and that nothing in it changes by that."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from parallel_ml.runtime import checkout
from parallel_ml.runtime.checkout import describe, find_checkout, listed_files, without_credentials


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder."""
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    allowed = ("-c", "protocol.file.allow=always")
    command = ["git", "-C", str(folder), *allowed, *arguments]
    return subprocess.run(command, env={**os.environ, **who}, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return a checkout with a commit."""
    path = tmp_path / "top"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    (path / "a.py").write_text("one\n")
    (path / ".gitignore").write_text("*.log\n")
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "first")
    return path


def test_tracked_and_new_files_are_listed_and_ignored_ones_are_not(top: Path) -> None:
    """As they are on disk."""
    (top / "new file.py").write_text("new")
    (top / "x.log").write_text("log")
    assert listed_files(top) == [".gitignore", "a.py", "new file.py"]


def test_the_files_of_submodules_and_of_checkouts_in_it_are_listed(top: Path, tmp_path: Path) -> None:
    """They are code as any other."""
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(top), str(other))
    git(top, "submodule", "-q", "add", str(other), "sub")
    git(top, "clone", "-q", str(other), str(top / "nested"))
    assert {"sub/a.py", "nested/a.py", "a.py"} <= set(listed_files(top) or ())


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    """Nothing is known of it."""
    assert find_checkout(tmp_path) is None


def test_what_is_recorded(top: Path) -> None:
    """Commit, branch, remote without credentials, and the uncommitted changes, staged or not."""
    git(top, "remote", "add", "origin", "https://me:token@example.org/a.git")
    (top / "b.py").write_text("two\n")
    git(top, "add", "b.py")
    (top / "a.py").write_text("three\n")
    told, diff = describe(top)
    assert (told["commit"], told["branch"], told["dirty"]) == (git(top, "rev-parse", "HEAD").strip(), "main", True)
    assert told["remote"] == "https://example.org/a.git"
    assert (b"+two" in diff, b"+three" in diff, b"-one" in diff) == (True, True, True)


def test_a_clean_checkout_is_clean(top: Path) -> None:
    """There is nothing to write down."""
    told, diff = describe(top)
    assert (told["dirty"], diff) == (False, b"")


def test_a_checkout_without_a_commit(tmp_path: Path) -> None:
    """It is dirty by its nature."""
    git(tmp_path, "init", "-q")
    told, diff = describe(tmp_path)
    assert (told["commit"], told["dirty"], diff) == (None, True, b"")


def test_no_secret_is_in_the_diff(top: Path) -> None:
    """By name, by a notifications key of now, and by one of before."""
    for name in (".env", "now.yaml", "before.yaml", "plain.yaml"):
        (top / name).write_text("notifications: {password: old-secret}\n" if name == "before.yaml" else "a: 1\n")
    git(top, "add", "-f", ".")
    git(top, "commit", "-q", "-m", "second")
    (top / ".env").write_text("TOKEN=secret-1\n")
    (top / "now.yaml").write_text("notifications:\n  password: secret-2\n")
    (top / "before.yaml").write_text("a: 1\n")
    (top / "plain.yaml").write_text("a: 2\n")
    told, diff = describe(top)
    assert b"secret" not in diff
    assert b"+a: 2" in diff
    assert sorted(told["diff_left_out"]) == [".env", "before.yaml", "now.yaml"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notif.json", '{"notifications": {"password": "secret"}}\n'),
        ("job.conf", "notifications:\n  password: secret\n"),
        ("job.yaml.bak", "? notifications\n: {password: secret}\n"),
        ("a b/job", "{notifications: {password: secret}}\n"),
    ],
)
@pytest.mark.parametrize("when", ["before", "now"])
def test_no_secret_of_a_configuration_of_any_ending_is_in_the_diff(top: Path, name: str, text: str, when: str) -> None:
    """As `run` reads files of any; other changes are shown."""
    (top / name).parent.mkdir(exist_ok=True)
    (top / name).write_text(text if when == "before" else "a: 1\n")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "second")
    (top / name).write_text("a: 1\n" if when == "before" else text)
    (top / "a.py").write_text('x = {"notifications": 1}\n')
    told, diff = describe(top)
    assert (b"secret" in diff, b"+x = " in diff, told["diff_left_out"]) == (False, True, [name])


def test_no_hunk_of_a_private_file_is_in_the_diff(top: Path) -> None:
    """A configuration of this run, say, whatever it looks like."""
    (top / "a.py").write_text("secret\n")
    told, diff = describe(top, {str(top / "a.py")})
    assert (diff, told["diff_left_out"]) == (b"", ["a.py"])


def test_many_changed_texts_are_shown(top: Path) -> None:
    """Git is asked at once which of them may hold a secret, not one by one."""
    names = [f"{number}.txt" for number in range(60)]
    for name in names:
        (top / name).write_text("old\n")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "second")
    for name in names:
        (top / name).write_text("new\n")
    told, diff = describe(top)
    assert (diff.count(b"+new"), told["diff_left_out"]) == (60, [])


def test_a_huge_diff_is_cut(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mebibyte is enough to see what was changed."""
    monkeypatch.setattr(checkout, "MAX_DIFF_BYTES", 100)
    (top / "a.py").write_text("x\n" * 1000)
    told, diff = describe(top)
    assert (len(diff), told["diff_cut"]) == (100, True)


def test_nothing_in_the_checkout_is_written(top: Path) -> None:
    """Not even the index, whose times git would like to refresh; also where we run in one of git's hooks."""
    (top / "a.py").write_text("one\n")
    os.utime(top / "a.py", (1, 1))
    before = hashlib.sha256((top / ".git" / "index").read_bytes()).hexdigest()
    files = sorted(path for path in top.rglob("*"))
    describe(top)
    listed_files(top)
    assert hashlib.sha256((top / ".git" / "index").read_bytes()).hexdigest() == before
    assert sorted(path for path in top.rglob("*")) == files


def test_a_hook_of_another_checkout_does_not_mislead(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git hands its hooks variables that name their own checkout."""
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")
    assert find_checkout(top) == top


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://token@example.org/a.git", "https://example.org/a.git"),
        ("ssh://git@example.org:22/a.git", "ssh://example.org:22/a.git"),
        ("/srv/a.git", "/srv/a.git"),
        ("https://example.org/a.git?access_token=x", "https://example.org/a.git"),
    ],
)
def test_a_remote_is_shown_without_credentials(url: str, shown: str) -> None:
    """Whatever its form."""
    assert without_credentials(url) == shown
