"""No test here sees a card of the machine that it runs on."""

from __future__ import annotations

import pynvml
import pytest


@pytest.fixture(autouse=True)
def no_nvidia_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pynvml find no library, as on a machine without NVIDIA's driver."""

    def nothing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "CDLL", nothing)
