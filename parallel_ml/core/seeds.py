"""The seed of each process: different for each, and the same at the same place of another run."""

from __future__ import annotations

import hashlib


def derive_seed(user_seed: int, position: int) -> int:
    """Return the seed of the process at `position` of a run, in [0, 2**31).

    A function of the two numbers alone. They are hashed rather than added, so that 43 + 0 and 42 + 1 differ; 31 bits
    are what numpy, TensorFlow and PyTorch all accept.
    """
    digest = hashlib.sha256(f"parallel_ml/seed/{user_seed}/{position}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFF_FFFF
