"""NVML as a thing that may be missing, old, forbidden or broken: opened, asked, and closed.

Each failure of opening has a line for people. Of the questions to a card none must be answered: what a card or a driver
does not offer is None, and is not asked again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
"""It is there where NVIDIA's driver is loaded."""

# Values of nvmlReturn_t (nvml.h); here as numbers, so that naming them does not load pynvml.
_NO_PERMISSION = 4
_DRIVER_NOT_LOADED = 9
_LIBRARY_NOT_FOUND = 12
_GPU_IS_LOST = 15
_RESET_REQUIRED = 16
_LIB_RM_VERSION_MISMATCH = 18
_GPU_NOT_FOUND = 28

_LOST = {
    _GPU_IS_LOST: "is lost: it does not answer any more, and needs a restart of the machine",
    _RESET_REQUIRED: "needs a reset (nvidia-smi --gpu-reset) or a restart of the machine",
}
_NEVER_AGAIN = frozenset({2, 3, 4, 13, 25, 26, 999})
"""InvalidArgument (a version that the driver does not know), NotSupported, NoPermission, FunctionNotFound,
ArgumentVersionMismatch, Deprecated, Unknown: the next answer would be the same. A timeout, say, passes."""
_CANNOT_OPEN = {
    _NO_PERMISSION: "no permission to use the NVIDIA driver (is this user allowed to open /dev/nvidia*?)",
    _DRIVER_NOT_LOADED: "NVIDIA's driver is installed but not loaded (run nvidia-smi, or restart the machine)",
    _LIBRARY_NOT_FOUND: "no GPU found",
    _LIB_RM_VERSION_MISMATCH: (
        "NVIDIA's driver was updated without a reboot, so no GPU can be used until the machine is restarted"
    ),
    _GPU_NOT_FOUND: "no GPU found",
}
_DRIVER_ONLY = (
    "NVIDIA's driver is loaded, but its library libnvidia-ml.so.1 is not here (a container needs `--gpus all`)"
)


class NoNvml(Exception):
    """NVML cannot be used; the message says why, in words for people. It does not leave `parallel_ml.gpu`."""


class CardLost(Exception):
    """The card that was asked fell off the bus or needs a reset; the message says which."""


class Nvml:
    """NVML, opened at the first need."""

    def __init__(self, driver: Path = NVIDIA_DRIVER) -> None:
        """Load nothing yet.

        Args:
            driver: The file that shows that the driver is loaded.
        """
        self._driver = driver
        self._api: Any = None
        self._never: set[tuple[str, str]] = set()

    def open(self) -> None:
        """Initialise NVML, unless it is.

        Raises:
            NoNvml: It cannot be.
        """
        if self._api is not None:
            return
        try:
            import pynvml  # noqa: PLC0415 - 17 ms, and nobody without a card needs it
        except ImportError as error:
            raise NoNvml("no GPU is looked for, as the package nvidia-ml-py is not installed") from error
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            line = _CANNOT_OPEN.get(error.value, f"NVIDIA's driver cannot be used ({error})")
            if error.value == _LIBRARY_NOT_FOUND and self._driver.exists():
                line = _DRIVER_ONLY
            raise NoNvml(line) from error
        self._api = pynvml

    def close(self) -> None:
        """Shut NVML down, if it is open; it may be opened again."""
        if self._api is not None:
            api, self._api = self._api, None
            try:
                api.nvmlShutdown()
            except api.NVMLError:
                return  # it was gone before us

    def call(self, name: str, *arguments: Any) -> Any:
        """Return what the function of that name answers.

        Raises:
            NoNvml: It is an error; the message is the driver's.
            CardLost: The card is lost.
        """
        self.open()
        try:
            return getattr(self._api, name)(*arguments)
        except self._api.NVMLError as error:
            if error.value in _LOST:
                raise CardLost(_LOST[error.value]) from error
            raise NoNvml(str(error)) from error

    def ask(self, uuid: str, name: str, *arguments: Any) -> Any:
        """Return what the card answers to the function of that name; None where it has no answer.

        Args:
            uuid: The card's, under which it is remembered that there is none.
            name: The function in pynvml.
            arguments: Its arguments, the card's handle first.

        Raises:
            CardLost: The card is lost.
        """
        question = (uuid, f"{name}{arguments[1:]}")
        if question in self._never:
            return None
        self.open()
        function = getattr(self._api, name, None)
        if function is None:  # a pynvml from before this function
            self._never.add(question)
            return None
        try:
            return function(*arguments)
        except self._api.NVMLError as error:
            if error.value in _LOST:
                raise CardLost(_LOST[error.value]) from error
            if error.value in _NEVER_AGAIN:
                self._never.add(question)
            return None

    @property
    def card_files(self) -> Path:
        """Where the driver has a folder for each card, named by its bus."""
        return self._driver.parent / "gpus"

    def handles(self) -> tuple[list[Any], list[tuple[int, str]]]:
        """Return a handle for each card that answers, and the number of each that does not, and what is wrong with it.

        Both are in NVML's own order.

        Raises:
            NoNvml: The cards cannot be counted.
        """
        found, silent = [], []
        for index in range(self.call("nvmlDeviceGetCount")):
            try:
                found.append(self.call("nvmlDeviceGetHandleByIndex", index))
            except (NoNvml, CardLost) as error:
                silent.append((index, str(error) if isinstance(error, CardLost) else f"cannot be used ({error})"))
        return found, silent

    def mig_handles(self, uuid: str, card: Any) -> list[Any] | None:
        """Return a handle for each MIG instance of a card; None where it is not in MIG mode.

        Raises:
            CardLost: The card is lost.
        """
        mode = self.ask(uuid, "nvmlDeviceGetMigMode", card)
        if not mode or not mode[0]:
            return None
        found = []
        for index in range(self.ask(uuid, "nvmlDeviceGetMaxMigDeviceCount", card) or 0):
            try:
                found.append(self.call("nvmlDeviceGetMigDeviceHandleByIndex", card, index))
            except NoNvml:  # NotFound: this place has no instance
                continue
        return found
