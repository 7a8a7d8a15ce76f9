"""Which files may hold secrets: none of them is copied into a snapshot, nor shown in a recorded diff."""

from __future__ import annotations

import re
from fnmatch import translate

_NAMES = (
    *(".env", ".env.*", "*.env", ".envrc", "notifier_config.y*ml", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks"),
    *("*.keystore", "*.kdbx", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".pgpass"),
    *(".pypirc", ".npmrc", ".htpasswd", ".git-credentials", "kaggle.json", "credentials", "credentials.*"),
    *("*credentials*.json", "*credentials*.y*ml", "client_secret*.json", "*service[_-]account*.json", "secrets.*"),
    *("*secrets*.json", "*secrets*.y*ml", "*secrets*.toml", "*.tfvars"),
)
_FOLDERS = frozenset((".aws", ".azure", ".gnupg", ".kube", ".ssh"))
_SECRET = re.compile("|".join(translate(pattern) for pattern in _NAMES))
_NOTIFICATIONS = re.compile(rb"""(?:^|[{,\n\r])[ \t]*["']?notifications["']?[ \t]*:""")


def is_secret_name(path: str) -> bool:
    """Say whether a relative path is one that credentials commonly have.

    >>> is_secret_name("deploy/.env.local"), is_secret_name("train.py")
    (True, False)
    """
    *folders, name = path.lower().split("/")
    return _SECRET.match(name) is not None or not _FOLDERS.isdisjoint(folders)


def is_yaml(path: str) -> bool:
    """Say whether a file is YAML by its name."""
    return path.lower().endswith((".yaml", ".yml"))


def names_channels(text: bytes) -> bool:
    """Say whether a YAML text has a `notifications` key: at any depth, as no harm comes of one too many."""
    return _NOTIFICATIONS.search(text) is not None
