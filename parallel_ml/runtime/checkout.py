"""What git says of a checkout, without changing anything in it: no commit, no stash, no refreshed index."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from parallel_ml.runtime.secret_files import KEY, MAX_CONFIG_BYTES, is_secret_name, may_configure, names_channels

PATIENCE_S = 20.0
MAX_DIFF_BYTES = 1024 * 1024
MAX_DEPTH = 4
"""Checkouts within checkouts (submodules) that are looked into."""
_MOST_LOOKED_INTO = 50
_SUBMODULE = "160000"
"""The mode of a submodule in the index (gitformat-index(5))."""
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/@]*@", re.IGNORECASE)
_FIELDS = {"1": 8, "u": 10}
"""Where the path is in a line of `git status --porcelain=v2` (git-status(1))."""
_LONGEST_ARGUMENTS = 64 * 1024
_PLAIN = (
    "-c",
    "core.fsmonitor=false",
    "-c",
    "diff.autoRefreshIndex=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "color.ui=false",
)


def find_checkout(folder: Path) -> Path | None:
    """Return the top of the checkout that a folder is in; None where there is none, or no git."""
    told = _git(folder, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(told.rstrip(b"\n"))) if told and told.strip() else None


def listed_files(top: Path) -> list[str] | None:
    """Return the tracked files and those that are neither tracked nor ignored, relative to the top, tracked ones first.

    Those of submodules, and of checkouts that lie in this one, are among them. None where git cannot tell in time.
    """
    return _listed(top, "", MAX_DEPTH)


def _listed(top: Path, prefix: str, depth: int) -> list[str] | None:
    tracked = _git(top, "ls-files", "-z", "--stage")
    others = _git(top, "ls-files", "-z", "-o", "--exclude-standard")
    if tracked is None or others is None:
        return None
    found: dict[str, None] = {}
    inner: list[str] = []
    for line in _names(tracked):
        told, _, name = line.partition("\t")
        if told.startswith(_SUBMODULE):
            inner.append(name)
        else:
            found[prefix + name] = None
    for name in _names(others):
        if name.endswith("/"):
            inner.append(name[:-1])
        else:
            found[prefix + name] = None
    for name in inner if depth else ():
        if os.path.exists(f"{top}/{name}/.git"):  # a submodule that was never fetched is empty
            found |= dict.fromkeys(_listed(top / name, f"{prefix}{name}/", depth - 1) or ())
    return list(found)


def describe(top: Path, private: Collection[str] = ()) -> tuple[dict[str, Any], bytes]:
    """Return what is recorded of a checkout, and its uncommitted changes without what may be secret, 1 MiB at most.

    Args:
        top: The checkout.
        private: The real paths of files that hold secrets, whatever they look like.
    """
    # Of git's commands this one alone looks at all files without writing what it saw into the index.
    told = _git(top, "status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--untracked-files=normal")
    lines = _names(told)
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit, branch = heads.get("branch.oid"), heads.get("branch.head")
    changed = [line.split(" ", _FIELDS[line[0]])[-1] for line in lines if line[0] in _FIELDS]
    untracked = sum(line.startswith("? ") for line in lines)
    remote = _line(_git(top, "config", "--get", "remote.origin.url"))
    has_commit = commit not in (None, "(initial)")
    hidden = list(_secret(top, changed, private)) if has_commit else []
    shown = [name for name in changed if name not in set(hidden)]
    diff = _diff(top, shown, hidden) if has_commit and shown else b""
    record = {
        "top": str(top),
        "commit": commit if has_commit else None,
        "branch": None if branch == "(detached)" else branch,
        "dirty": bool(changed or untracked or not has_commit),
        "remote": without_credentials(remote) if remote else None,
        "changed": len(changed),
        "untracked": untracked,
        "diff_left_out": hidden,
        "diff_cut": len(diff) > MAX_DIFF_BYTES,
    }
    return record, diff[:MAX_DIFF_BYTES]


def without_credentials(url: str) -> str:
    """Return a remote's URL without the user, the password and the query that may stand in it.

    >>> without_credentials("https://me:token@example.org/a.git?private_token=x"), without_credentials("git@host:a.git")
    ('https://example.org/a.git', 'git@host:a.git')
    """
    return _USERINFO.sub(r"\1", url).partition("?")[0]


def _diff(top: Path, shown: list[str], hidden: list[str]) -> bytes:
    """Return `git diff HEAD` of the changed files as a patch; binary files are named, not shown."""
    plain = ("diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--submodule=short", "HEAD", "--")
    paths = [f":(literal,top){name}" for name in shown]
    if sum(map(len, paths)) > _LONGEST_ARGUMENTS:
        paths = [".", *(f":(exclude,literal,top){name}" for name in hidden)]
    return _git(top, *plain, *paths) or b""


def _secret(top: Path, changed: list[str], private: Collection[str]) -> Iterator[str]:
    """Yield the changed files whose hunks may show a secret, of before or of now."""
    now = {name for name in changed if may_configure(name) and names_channels(_text(top / name))}
    before = _mentioning(top, [name for name in changed if may_configure(name) and name not in now])
    for name in changed:
        known = is_secret_name(name) or name in now or str(top / name) in private
        if known or (name in before and (len(before) > _MOST_LOOKED_INTO or _had_channels(top, name))):
            yield name


def _mentioning(top: Path, names: list[str]) -> set[str]:
    """Return those of the files that had the word in the last commit; all where git cannot tell."""
    if not names:
        return set()
    paths = [f":(literal,top){name}" for name in names]
    if sum(map(len, paths)) > _LONGEST_ARGUMENTS:
        paths = []
    options = ("-z", "--name-only", "--full-name", "--text", "--fixed-strings", "--no-recurse-submodules")
    told = _git(top, "grep", *options, "-e", KEY.decode(), "HEAD", "--", *paths, fine=(0, 1))
    return set(names) if told is None else {name.partition(":")[2] for name in _names(told)}.intersection(names)


def _had_channels(top: Path, name: str) -> bool:
    told = _git(top, "show", "--no-textconv", f"HEAD:{name}")
    return told is None or names_channels(told)


def _text(path: Path) -> bytes:
    """Return what is in a file, no more than a configuration has."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as stream:
            return stream.read(MAX_CONFIG_BYTES + 1)
    except OSError:
        return b""


def _names(told: bytes | None) -> list[str]:
    return [name for name in os.fsdecode(told or b"").split("\0") if name]


def _line(told: bytes | None) -> str | None:
    return (told or b"").decode("utf-8", "backslashreplace").strip() or None


def _git(folder: Path, *arguments: str, fine: Collection[int] = (0,)) -> bytes | None:
    """Return what git prints, or None where it fails, or is not there."""
    command = ["git", "-C", str(folder), *_PLAIN, *arguments]
    try:
        done = subprocess.run(
            command,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode in fine else None


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for git: of this folder's checkout, whatever a hook that we run in says."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("GIT_", "LC_", "LANG"))}
    return {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
