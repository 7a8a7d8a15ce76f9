"""What a result depends on beside the code: the interpreter with its packages, and the hardware."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from parallel_ml import __version__
from parallel_ml.core.model import Machine
from parallel_ml.core.units import format_size
from parallel_ml.store.identity import host

_METADATA = re.compile(r"(?P<name>.+?)-(?P<version>\d[^-]*?)(?:-py[\d.]+)?(?:\.dist-info|\.egg-info)")
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*(?:w|d|t)?")
_DRIVER = Path("/proc/driver/nvidia/version")
_DRIVER_VERSION = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")
_MOST_SHOWN = 5
ASKED_S = 2.0
"""A Python that does not say in this time where its packages are has none on record."""


def versions() -> dict[str, str]:
    """Return the versions of this package, of its Python and of the system."""
    return {"parallel_ml": __version__, "python": platform.python_version(), "platform": platform.platform()}


def hardware(machine: Machine) -> dict[str, Any]:
    """Return what the machine is: its name, processor, memory and cards with their driver."""
    cards = [{"name": one.name, "uuid": one.uuid, "memory_bytes": one.memory_bytes} for one in machine.devices]
    real = any(not one.uuid.startswith("SIM-") for one in machine.devices)
    return {
        "host": host(),
        "cpu": _processor(),
        "cores": machine.cores,
        "memory_bytes": machine.memory_bytes,
        "gpus": cards,
        "driver": _driver() if real else None,
    }


def interpreter_of(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """Return the Python that a command line runs, "" where it names none.

    A launcher such as torchrun belongs to the Python that stands beside it.
    """
    for word in argv:
        if _PYTHON.fullmatch(os.path.basename(word)):
            return word if "/" in word else shutil.which(word, path=env.get("PATH")) or ""
    beside = f"{os.path.dirname(argv[0])}/python" if "/" in argv[0] else ""
    return beside if beside and os.access(beside, os.X_OK) else ""


def packages_of(interpreter: str) -> dict[str, str]:
    """Return name and version of all that is installed for a Python, told by the names of its metadata's folders."""
    found: dict[str, str] = {}
    for folder in site_folders(interpreter):
        with suppress(OSError), os.scandir(folder) as entries:
            for one in entries:
                if (match := _METADATA.fullmatch(one.name)) is not None:
                    found.setdefault(re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"])
    return dict(sorted(found.items()))


def site_folders(interpreter: str) -> list[str]:
    """Return where a Python's packages are. That of an environment is told by its layout, without starting it."""
    if os.path.realpath(os.path.dirname(interpreter)) == os.path.realpath(os.path.dirname(sys.executable)):
        return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    home = Path(interpreter).absolute().parent.parent
    return [str(path) for path in _below(home)] or list(_asked(interpreter))


def linked_folders(interpreter: str) -> list[str]:
    """Return the folders outside of a Python's own that it looks into: sources that are installed by a link to them."""
    found: dict[str, None] = {}
    for folder in site_folders(interpreter):
        with suppress(OSError):
            for name in sorted(os.listdir(folder)):
                if name.endswith(".pth"):
                    found |= dict.fromkeys(_lines(Path(folder, name)))
    return list(found)


@lru_cache(maxsize=16)
def _asked(interpreter: str) -> tuple[str, ...]:
    """Ask a Python of no known layout (a version manager's, say) where it looks."""
    command = [interpreter, "-c", "import sys; print(*sys.path, sep='\\n')"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASKED_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    lines = os.fsdecode(done.stdout).splitlines()
    return tuple(line for line in lines if line.endswith(("site-packages", "dist-packages")))


def _below(home: Path) -> Iterator[Path]:
    yield from sorted(home.glob("lib/python3*/site-packages"))
    settings = dict(
        line.partition("=")[::2]
        for line in _text(home / "pyvenv.cfg").replace(" ", "").lower().splitlines()
        if "=" in line
    )
    if not settings or settings.get("include-system-site-packages") == "true":
        yield from sorted(home.glob("lib/python3*/dist-packages"))
        yield from sorted(home.glob("local/lib/python3*/dist-packages"))


def _lines(path: Path) -> list[str]:
    lines = (line.strip() for line in _text(path).splitlines())
    return [line for line in lines if line.startswith("/") and os.path.isdir(line)]


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is other now than it was, a line for each kind.

    Args:
        then: The part of a `run.json` that `record` made.
        now: The same of now.
    """
    for name in ("python", "parallel_ml"):
        old, new = then.get("versions", {}).get(name), now.get("versions", {}).get(name)
        if old and old != new:
            yield f"{name} is {new}, was {old}"
    yield from _package_differences(then.get("packages") or {}, now.get("packages") or {})
    old, new = then.get("hardware") or {}, now.get("hardware") or {}
    for name, word in (("cpu", "the processor"), ("cores", "the number of cores"), ("driver", "the GPU driver")):
        if name in old and old[name] != new.get(name):
            yield f"{word} is {new.get(name) or 'none'}, was {old[name] or 'none'}"
    if "gpus" in old and _cards(old) != _cards(new):
        yield f"the GPUs are {_cards(new) or 'none'}, were {_cards(old) or 'none'}"


def _package_differences(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    if not old:
        return
    other = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    shown = [f"{name} {new.get(name, 'gone')} (was {old.get(name, 'not there')})" for name in other[:_MOST_SHOWN]]
    if other:
        more = f" and {len(other) - len(shown)} more" if len(other) > len(shown) else ""
        yield f"packages differ: {', '.join(shown)}{more}"


def _cards(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{one['name']} of {format_size(one['memory_bytes'])}" for one in told.get("gpus", ()))


def _processor() -> str:
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def _driver() -> str | None:
    found = _DRIVER_VERSION.search(_text(_DRIVER))
    return found[1] if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
