"""What a result depends on beside the code, and what is said where it differs."""

from __future__ import annotations

import sys
from pathlib import Path

from parallel_ml.core.model import Device, Machine
from parallel_ml.core.units import GIB
from parallel_ml.runtime.provenance import differences, hardware, interpreter_of, linked_folders, packages_of


def environment(home: Path, *distributions: str) -> str:
    """Make the folders of a Python environment and return its interpreter."""
    site = home / "lib" / "python3.12" / "site-packages"
    site.mkdir(parents=True)
    for name in distributions:
        (site / name).mkdir()
    (home / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    (home / "bin").mkdir()
    python = home / "bin" / "python"
    python.symlink_to(sys.executable)
    return str(python)


def test_packages_are_told_by_the_names_of_their_metadata(tmp_path: Path) -> None:
    """Of another environment, without starting it; names are written one way."""
    python = environment(
        tmp_path / "env",
        "torch-2.4.1+cpu.dist-info",
        "Typing_Extensions-4.12.dist-info",
        "old-1.0-py3.9.egg-info",
        "torch",
    )
    assert packages_of(python) == {"old": "1.0", "torch": "2.4.1+cpu", "typing-extensions": "4.12"}


def test_packages_of_our_own_python() -> None:
    """What pip would list."""
    assert "pytest" in packages_of(sys.executable)


def test_sources_that_are_installed_by_a_link_are_found(tmp_path: Path) -> None:
    """Folders in a .pth file; its other lines are code."""
    python = environment(tmp_path / "env")
    (tmp_path / "src").mkdir()
    site = tmp_path / "env" / "lib" / "python3.12" / "site-packages"
    (site / "mine.pth").write_text(f"import os\n{tmp_path / 'src'}\n{tmp_path / 'gone'}\n")
    assert linked_folders(python) == [str(tmp_path / "src")]


def test_a_launcher_belongs_to_the_python_beside_it(tmp_path: Path) -> None:
    """As torchrun of an environment does."""
    python = environment(tmp_path / "env")
    launcher = str(Path(python).with_name("torchrun"))
    assert interpreter_of([launcher, "train.py"], {}) == python
    assert interpreter_of(["env", "A=1", "python", "x.py"], {"PATH": str(Path(python).parent)}) == python
    assert interpreter_of(["sleep", "1"], {}) == ""


def test_hardware_names_processor_and_cards() -> None:
    """The driver only where the cards are real."""
    told = hardware(Machine((Device(0, "SIM-0", "Simulated", 16 * GIB),), 4, 8 * GIB))
    assert (told["cores"], told["gpus"][0]["name"], told["driver"]) == (4, "Simulated", None)
    assert told["cpu"]


def test_each_kind_of_difference_is_one_line() -> None:
    """Packages are named, the first few; what was not recorded then is no difference."""
    card = {"name": "A", "uuid": "GPU-1", "memory_bytes": GIB}
    then = {
        "versions": {"python": "3.11.1", "parallel_ml": "0.1"},
        "packages": {"a": "1", "b": "1", "c": "1"},
        "hardware": {"cpu": "X", "cores": 4, "driver": None, "gpus": [card]},
    }
    now = {
        "versions": {"python": "3.12.0", "parallel_ml": "0.1"},
        "packages": {"a": "1", "b": "2", "d": "1"},
        "hardware": {"cpu": "X", "cores": 8, "driver": None, "gpus": []},
    }
    assert list(differences(then, now)) == [
        "python is 3.12.0, was 3.11.1",
        "packages differ: b 2 (was 1), c gone (was 1), d 1 (was not there)",
        "the number of cores is 8, was 4",
        "the GPUs are none, were A of 1GiB",
    ]
    assert list(differences(then, then)) == list(differences({}, now)) == []
