"""The stand-in for NVIDIA's library: how it is built, and what it is told to say.

A test elsewhere gets the fixtures by `from tests.nvml.standin import library, nvml`. A process of its own gets
`nvml.env` before Python starts; in this process the library is loaded before pynvml asks for it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pynvml
import pytest

from parallel_ml.core.units import GIB

SOURCE = Path(__file__).with_name("stub.c")
SONAME = "libnvidia-ml.so.1"
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, TIMEOUT, LIBRARY_NOT_FOUND = 3, 4, 9, 10, 12
FUNCTION_NOT_FOUND, GPU_IS_LOST, RESET_REQUIRED, MISMATCH, UNKNOWN = 13, 15, 16, 18, 999


@dataclass
class Card:
    """What the stand-in says of a card, or with `parent` of a MIG instance. `used` is what no process explains."""

    uuid: str
    bus: str = "0000:01:00.0"
    total: int = 16 * GIB
    reserved: int = 0
    used: int = 0
    name: str = "NVIDIA Stand-in"
    util: int = 0
    temp: int = 40
    power: int = 60_000
    energy: int = 1_000_000
    lost: int = 0
    mig: int = 0
    parent: str = ""
    ecc: int = 0
    pending: int = 0
    remap: int = 0
    throttle: int = 0


@dataclass
class Use:
    """What a process has on a card."""

    uuid: str
    pid: int
    bytes: int
    kind: str = "C"
    sm: int = 0
    untold: int = 0
    hidden: int = 0
    foreign: int = 0


@dataclass
class StandIn:
    """The state of the stand-in; `write` makes it what the next call finds."""

    library: Path
    folder: Path
    cards: list[Card] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    errors: list[tuple[str, int, str]] = field(default_factory=list)
    xids: list[tuple[str, int]] = field(default_factory=list)
    init: int = 0

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to meet the stand-in."""
        return {
            "LD_LIBRARY_PATH": f"{self.library.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}".rstrip(":"),
            "NVML_STUB_STATE": str(self.folder / "state"),
            "NVML_STUB_LOG": str(self.folder / "calls"),
        }

    def write(self) -> None:
        """Replace the state file at once."""
        lines = [f"init {self.init}", "driver 580.65.06"]
        lines += [f"{'mig' if card.parent else 'card'} {_fields(card)}" for card in self.cards]
        lines += [f"process {_fields(use)}" for use in self.uses]
        lines += [f"error {function} {code} {uuid}" for function, code, uuid in self.errors]
        lines += [f"xid uuid={uuid} code={code} seq={number}" for number, (uuid, code) in enumerate(self.xids, 1)]
        temporary = self.folder / f"state.{os.getpid()}"
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        temporary.replace(self.folder / "state")

    def show(self, *cards: Card) -> None:
        """Have these cards, and nobody on them."""
        self.cards, self.uses, self.errors = list(cards), [], []
        self.write()

    def put(self, *uses: Use) -> None:
        """Have these processes on the cards."""
        self.uses = list(uses)
        self.write()

    def fail(self, function: str, code: int, uuid: str = "") -> None:
        """Let a function answer an error, for all cards or for one."""
        self.errors.append((function, code, uuid))
        self.write()

    def xid(self, uuid: str, code: int) -> None:
        """Let the driver report an Xid of a card."""
        self.xids.append((uuid, code))
        self.write()

    def calls(self, function: str, uuid: str = "") -> int:
        """Return how often functions whose name starts so were called, for all cards or for one."""
        path = self.folder / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return sum(line.startswith(function) and line.endswith(uuid) for line in lines)


def _fields(said: Card | Use) -> str:
    return " ".join(f"{name}={str(value).replace(' ', '_')}" for name, value in vars(said).items() if value != "")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that lives until it is killed, and has nothing to do with us but for being our child."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the stand-in, once."""
    built = build(tmp_path_factory.mktemp("nvml"))
    if built is None:
        pytest.skip("no C compiler here to build the stand-in for NVIDIA's library")
    return built


@pytest.fixture
def nvml(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Return the stand-in without a card, as the NVML of this process until the test ends."""
    folder = tmp_path / "nvml"
    folder.mkdir()
    stand_in = StandIn(library, folder)
    stand_in.write()
    for name, value in stand_in.env.items():
        if name.startswith("NVML_"):
            monkeypatch.setenv(name, value)
    # Elsewhere tests hide all cards by it; here the user has not said which to use.
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return stand_in


def build(folder: Path) -> Path | None:
    """Build the stand-in in a folder; return it, or None without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    flags = ["-O1", "-shared", "-fPIC", f"-Wl,-soname,{SONAME}", "-pthread"]
    subprocess.run([compiler, *flags, "-o", str(folder / SONAME), str(SOURCE)], check=True, capture_output=True)
    return folder / SONAME


def run_python(program: str, env: dict[str, str]) -> str:
    """Return what a Python program of its own process prints."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()
