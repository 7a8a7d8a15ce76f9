"""What is installed, told from the packages' metadata and the driver's files: nothing heavy is imported."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from parallel_ml import __version__
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.gpu.nvml_library import NVIDIA_DRIVER, CardLost, NoNvml, Nvml
from parallel_ml.gpu.source import UNUSABLE
from parallel_ml.runtime.finding import Finding

_SUPPORTED = ((3, 10), (3, 13))
"""The Python versions that TensorFlow has builds for."""
_OLDEST_DRIVER = 525
"""CUDA 12 works from this driver on (NVIDIA's table of CUDA compatibility: 525.60.13)."""
_DRIVER_VERSION = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")
_PCI = Path("/sys/bus/pci/devices")


def version(package: str) -> str | None:
    """Return a package's version, or None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def python_finding() -> Finding:
    """Return the interpreter."""
    text = f"{platform.python_version()} ({sys.executable}), parallel_ml {__version__}"
    oldest, newest = _SUPPORTED
    if not oldest <= sys.version_info[:2] <= newest and version("tensorflow") is None:
        return Finding("python", "warning", text, "TensorFlow has builds for Python 3.10 to 3.13: use one of these")
    return Finding("python", "ok", text)


def package_findings(*, cards: int) -> list[Finding]:
    """Return the frameworks.

    Args:
        cards: How many GPUs there are.
    """
    found = [_tensorflow(cards=cards)]
    for package, purpose in (("keras", "the built-in training needs it"), ("pillow", "reading images needs it")):
        known = version(package)
        if known is not None:
            found.append(Finding(package, "ok", known))
        elif found[0].state == "ok":
            advice = f"pip install {package}"
            found.append(Finding(package, "problem", f"not installed: {purpose}", advice))
    others = [(package, version(package)) for package in ("torch", "jax")]
    return [*found, *(_other_framework(package, known, cards=cards) for package, known in others if known)]


def _tensorflow(*, cards: int) -> Finding:
    plain, cpu = version("tensorflow"), version("tensorflow-cpu")
    extra = "cuda" if cards else "cpu"
    if plain is None and cpu is None:
        text = "not installed: the built-in training needs it, your own programs (command:) do not"
        return Finding("tensorflow", "warning", text, f"pip install 'parallel-ml[{extra}]'")
    if plain is not None and cpu is not None:
        advice = f"pip uninstall tensorflow tensorflow-cpu; pip install 'parallel-ml[{extra}]'"
        text = f"tensorflow {plain} and tensorflow-cpu {cpu} overwrite each other"
        return Finding("tensorflow", "problem", text, advice)
    if plain is None or (sys.platform, platform.machine()) != ("linux", "x86_64"):
        text = f"{plain or cpu}, built without CUDA"
        if not cards:
            return Finding("tensorflow", "ok", text)
        advice = "pip uninstall tensorflow-cpu; pip install 'parallel-ml[cuda]'" if plain is None else ""
        return Finding("tensorflow", "warning", f"{text}: the built-in training cannot use the GPUs", advice)
    cudnn = next((found for major in (12, 13) if (found := version(f"nvidia-cudnn-cu{major}"))), None)
    if cudnn is not None:
        return Finding("tensorflow", "ok", f"{plain}, built with CUDA, its libraries are installed (cuDNN {cudnn})")
    text = f"{plain}, built with CUDA; its libraries are not among the packages"
    if not cards:
        return Finding("tensorflow", "ok", text)
    return Finding("tensorflow", "warning", text, "unless the system has them: pip install 'parallel-ml[cuda]'")


def _other_framework(package: str, known: str, *, cards: int) -> Finding:
    without = known.endswith("+cpu") or (package == "jax" and not _has_cuda_plugin())
    text = f"{known}, built without CUDA" if without else known
    if without and cards:
        return Finding(package, "warning", f"{text}: it cannot use the GPUs", f"install a build of {package} with CUDA")
    return Finding(package, "ok", text)


def _has_cuda_plugin() -> bool:
    return any(version(f"jax-cuda{major}-plugin") for major in (12, 13))


def gpu_findings(gpus: GPUManager, driver_file: Path = NVIDIA_DRIVER, pci: Path = _PCI) -> list[Finding]:
    """Return the cards, and where there is a driver, whether its parts fit together.

    Args:
        gpus: The cards of this machine.
        driver_file: The file that is there where NVIDIA's driver is loaded.
        pci: The folder with the machine's devices.
    """
    devices, note = gpus.snapshot().devices, "; ".join(gpus.notes)
    if not devices:
        if driver_file.exists() or note.startswith(UNUSABLE):
            return [Finding("gpus", "problem", note, "until then jobs run on the CPU")]
        if _nvidia_card(pci):
            advice = "install NVIDIA's driver (in a container: start it with --gpus all)"
            return [Finding("gpus", "warning", f"there is an NVIDIA card, but no driver; {note}", advice)]
        return [Finding("gpus", "ok", note)]
    usable = [device for device in devices if not device.lost]
    listed = ", ".join(f"GPU {device.index} {device.name}" for device in usable)
    state = "warning" if note or len(usable) < len(devices) else "ok"
    cards = Finding("gpus", state, "; ".join(filter(None, [listed, note])), "see: parallel-ml gpus" if note else "")  # type: ignore[arg-type]
    return [cards, *_driver(driver_file)]


def _driver(driver_file: Path) -> list[Finding]:
    nvml = Nvml(driver_file)
    try:
        told = str(nvml.call("nvmlSystemGetDriverVersion"))
    except (NoNvml, CardLost) as error:
        return [Finding("driver", "warning", f"does not tell its version ({error})")]
    finally:
        nvml.close()
    kernel = _kernel_version(driver_file)
    if kernel is not None and kernel != told:
        text = f"the kernel has {kernel} loaded, the library is of {told}"
        return [Finding("driver", "problem", text, "restart the machine (in a container: the container)")]
    major = told.partition(".")[0]
    if major.isdecimal() and int(major) < _OLDEST_DRIVER:
        advice = f"install driver {_OLDEST_DRIVER} or newer"
        return [Finding("driver", "warning", f"{told}: too old for what is built with CUDA 12", advice)]
    return [Finding("driver", "ok", told)]


def _kernel_version(driver_file: Path) -> str | None:
    try:
        found = _DRIVER_VERSION.search(driver_file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found[1] if found else None


def _nvidia_card(pci: Path) -> bool:
    """Return whether the machine has a display or 3D controller of NVIDIA's (PCI class 03, vendor 10de)."""
    for device in pci.glob("*"):
        try:
            if (device / "vendor").read_text(encoding="ascii").strip() == "0x10de" and (device / "class").read_text(
                encoding="ascii"
            ).startswith("0x03"):
                return True
        except (OSError, ValueError):
            continue
    return False
