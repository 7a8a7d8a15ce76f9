"""Which files may hold secrets: none of them is copied into a snapshot, nor shown in a recorded diff."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import translate

import yaml

MAX_CONFIG_BYTES = 1024 * 1024
"""No configuration is larger, so that nothing beyond is looked into."""
KEY = b"notifications"

_NAMES = (
    *(".env", ".env.*", "*.env", ".envrc", "notifier_config.y*ml", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks"),
    *("*.keystore", "*.kdbx", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".pgpass"),
    *(".pypirc", ".npmrc", ".htpasswd", ".git-credentials", "kaggle.json", "credentials", "credentials.*"),
    *("*credentials*.json", "*credentials*.y*ml", "client_secret*.json", "*service[_-]account*.json", "secrets.*"),
    *("*secrets*.json", "*secrets*.y*ml", "*secrets*.toml", "*.tfvars"),
)
_FOLDERS = frozenset((".aws", ".azure", ".gnupg", ".kube", ".ssh"))
_SECRET = re.compile("|".join(translate(pattern) for pattern in _NAMES))
_LONGEST_PARSED = 64 * 1024 if yaml.__with_libyaml__ else 4096
_PROGRAMS = frozenset(
    (".bash", ".bat", ".c", ".cc", ".cjs", ".cmd", ".cpp", ".cs", ".css", ".cu", ".cuh", ".cxx", ".ex", ".exs", ".f")
) | frozenset(
    (
        *(".f90", ".fish", ".go", ".h", ".hh", ".hpp", ".hs", ".htm", ".html", ".hxx", ".ipynb", ".java", ".jl", ".js"),
        *(
            ".jsx",
            ".kt",
            ".lua",
            ".m",
            ".mjs",
            ".ml",
            ".mm",
            ".php",
            ".pl",
            ".pm",
            ".proto",
            ".ps1",
            ".pxd",
            ".py",
            ".pyi",
        ),
        *(".pyw", ".pyx", ".r", ".rb", ".rs", ".scala", ".sh", ".sql", ".swift", ".ts", ".tsx", ".vue", ".zsh"),
    )
)
_MAX_LEVELS = 100
_WRITTEN = re.compile(rb"""["']notifications["']|(?<![\w-])notifications\s*(?:#[^\n]*\n\s*)*:""")
_AT_A_LINE = re.compile(rb"""(?:^|[\n\r])["']?notifications["']?[ \t]*:(?:\s|$)""")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def is_secret_name(path: str) -> bool:
    """Say whether a relative path is one that credentials commonly have.

    >>> is_secret_name("deploy/.env.local"), is_secret_name("train.py")
    (True, False)
    """
    *folders, name = path.lower().split("/")
    return _SECRET.match(name) is not None or not _FOLDERS.isdisjoint(folders)


def may_configure(path: str) -> bool:
    """Say whether a file may be a configuration by its name: any but those of programs, as `run` reads any.

    >>> may_configure("job.yaml.bak"), may_configure("notify.py")
    (True, False)
    """
    _, dot, ending = path.rpartition("/")[2].lower().rpartition(".")
    return dot + ending not in _PROGRAMS


def names_channels(text: bytes) -> bool:
    """Say whether a text is data with a `notifications` key at its top, in any spelling of YAML or JSON.

    What is neither, or too long to be parsed for this, has one where the word is quoted or a colon follows it, unless
    it is a program by its first line.
    """
    if KEY not in text or len(text) > MAX_CONFIG_BYTES or b"\0" in text:
        return False
    if not _WRITTEN.search(text):
        return False
    in_doubt = not text.startswith(b"#!")
    if in_doubt and _AT_A_LINE.search(text):
        return True
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return in_doubt if len(text) > _LONGEST_PARSED else _yaml_names_channels(text, in_doubt=in_doubt)
    return isinstance(told, dict) and KEY.decode() in told


def _yaml_names_channels(text: bytes, *, in_doubt: bool) -> bool:
    try:
        keys = set(_keys(text))
    except (yaml.YAMLError, UnicodeError):
        return in_doubt
    # An alias may be, or bring in, any key.
    return not keys.isdisjoint((KEY.decode(), "<<", None))


def _keys(text: bytes) -> Iterator[str | None]:
    """Yield the keys of a YAML text's mappings at the top, None for an alias: by events, as those are never nested.

    Raises:
        yaml.YAMLError: It is none, or deeper than any configuration.
    """
    depth, places = 0, 0
    for event in yaml.parse(text.decode("utf-8-sig"), Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            places = 0
        if depth == 1 and isinstance(event, yaml.NodeEvent):
            if places % 2 == 0 and not isinstance(event, yaml.CollectionStartEvent):
                yield event.value if isinstance(event, yaml.ScalarEvent) else None
            places += 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_LEVELS:
                raise yaml.YAMLError
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
