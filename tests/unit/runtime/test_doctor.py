"""What `doctor` finds where something is missing."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from importlib import metadata
from pathlib import Path

import pytest

from parallel_ml.core.units import GIB
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.runtime import doctor
from parallel_ml.runtime.finding import Finding
from parallel_ml.runtime.installed import gpu_findings, package_findings

NO_CARDS = GPUManager.from_spec("none")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the packages that are installed, by name; the test says which."""
    packages: dict[str, str] = {}

    def version(package: str) -> str:
        if package in packages:
            return packages[package]
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return packages


def states(found: list[Finding]) -> dict[str, str]:
    """Return the state of each finding."""
    return {one.name: one.state for one in found}


@pytest.mark.parametrize(
    ("packages", "cards", "state", "said"),
    [
        ({}, 0, "warning", "pip install 'parallel-ml[cpu]'"),
        ({}, 1, "warning", "pip install 'parallel-ml[cuda]'"),
        ({"tensorflow": "2.21.0", "tensorflow-cpu": "2.20.0"}, 0, "problem", "overwrite each other"),
        ({"tensorflow-cpu": "2.21.0"}, 0, "ok", "2.21.0, built without CUDA"),
        ({"tensorflow-cpu": "2.21.0"}, 1, "warning", "pip uninstall tensorflow-cpu"),
        ({"tensorflow": "2.21.0"}, 1, "warning", "unless the system has them"),
        ({"tensorflow": "2.21.0"}, 0, "ok", "built with CUDA"),
        ({"tensorflow": "2.21.0", "nvidia-cudnn-cu12": "9.1"}, 1, "ok", "cuDNN 9.1"),
    ],
)
def test_tensorflow_is_told_by_its_packages(
    installed: dict[str, str], packages: dict[str, str], cards: int, state: str, said: str
) -> None:
    """Whether it is there, whether it can use the cards, and what to do."""
    installed.update(packages)
    found = package_findings(cards=cards)[0]
    assert (found.name, found.state) == ("tensorflow", state)
    assert said in f"{found.text} {found.advice}"


def test_what_belongs_to_tensorflow_is_missed_with_it(installed: dict[str, str]) -> None:
    """Keras is needed beside TensorFlow, and by nobody else; PyTorch is shown where it is."""
    assert "keras" not in states(package_findings(cards=0))
    installed.update({"tensorflow-cpu": "2.21.0", "pillow": "12.0", "torch": "2.13.0+cpu"})
    found = package_findings(cards=0)
    assert states(found) == {"tensorflow": "ok", "keras": "problem", "pillow": "ok", "torch": "ok"}
    assert states(package_findings(cards=1))["torch"] == "warning"


def test_a_driver_without_a_card_that_can_be_used_is_a_problem(tmp_path: Path) -> None:
    """The user has paid for it."""
    loaded = tmp_path / "version"
    loaded.touch()
    [found] = gpu_findings(NO_CARDS, loaded, tmp_path)
    assert (found.name, found.state) == ("gpus", "problem")


def test_a_card_without_a_driver_is_told(tmp_path: Path) -> None:
    """By what is on the PCI bus: a display controller of NVIDIA's, not its sound."""
    device = tmp_path / "0000:01:00.0"
    device.mkdir()
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x040300\n")
    assert gpu_findings(NO_CARDS, tmp_path / "none", tmp_path)[0].state == "ok"
    (device / "class").write_text("0x030200\n")
    [found] = gpu_findings(NO_CARDS, tmp_path / "none", tmp_path)
    assert (found.state, "install NVIDIA's driver" in found.advice) == ("warning", True)


@pytest.mark.process
def test_a_good_folder_is_good_and_nothing_stays_in_it(tmp_path: Path) -> None:
    """A real attempt is started there; the folder itself need not be there yet."""
    runs = tmp_path / "deep" / "runs"
    found = doctor.examine(runs, NO_CARDS, dict(os.environ))
    about_folder = {name: states(found)[name] for name in ("runs folder", "file locks", "clock", "job start", "leases")}
    assert set(about_folder.values()) == {"ok"}, found
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    """A file stands in its way."""
    (tmp_path / "file").touch()
    [found] = doctor._runs_folder(tmp_path / "file" / "runs", {})
    assert (found.name, found.state, "--runs-dir" in found.advice) == ("runs folder", "problem", True)


@pytest.mark.parametrize(
    ("target", "said"),
    [("fcntl.flock", "do not work here: No locks available"), ("os.link", "hard links do not work here")],
)
def test_a_disk_without_locks_or_links_is_a_problem(
    target: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems have none."""

    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(target, fails)
    found = doctor._locks(tmp_path)
    assert (found.state, said in found.text) == ("problem", True)


def test_locks_that_keep_nobody_out_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system may say yes to everybody."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert doctor._locks(tmp_path).text == "keep nobody out here"


@pytest.mark.parametrize(("free", "state"), [(100 << 20, "problem"), (GIB, "warning"), (50 * GIB, "ok")])
def test_little_room_is_told(free: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a run fills the disk."""
    monkeypatch.setattr(doctor, "free_bytes", lambda _: free)
    assert doctor._disk(tmp_path).state == state


@pytest.mark.parametrize(("ahead_s", "state"), [(0.0, "ok"), (60.0, "warning"), (-1.7e9, "problem")])
def test_a_wrong_clock_is_told(ahead_s: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that differs from the disk's, or that was never set."""
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + ahead_s)
    assert doctor._clock(tmp_path).state == state


@pytest.mark.process
def test_a_job_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words of whoever failed."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    found = doctor._guarded("job start", lambda: doctor._start(tmp_path, dict(os.environ)))
    assert found.state == "problem"
    assert "No such file" in found.text


@pytest.mark.parametrize(("cards", "state"), [(0, "warning"), (1, "problem")])
def test_a_leases_folder_of_somebody_else_is_told(cards: int, state: str, tmp_path: Path) -> None:
    """It matters where there are cards to share."""
    (tmp_path / "leases").symlink_to(tmp_path)
    found = doctor._leases({"PARALLEL_ML_LEASES": str(tmp_path / "leases")}, cards=cards)
    assert (found.state, "PARALLEL_ML_LEASES" in found.text) == (state, True)
