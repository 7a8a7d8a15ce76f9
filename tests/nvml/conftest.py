"""The stand-in for NVIDIA's library, for all tests beside this file."""

from __future__ import annotations

from tests.nvml.standin import library, nvml, stranger

__all__ = ["library", "nvml", "stranger"]
