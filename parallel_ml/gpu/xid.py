"""Xids: what the driver says has gone wrong on a card, and whether the card can be used after it.

The numbers and their meanings are those of NVIDIA's Xid catalogue (docs.nvidia.com/deploy/xid-errors). A number that is
in neither table here is told of and condemns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

_NEEDS_RESET = {
    46: "the GPU stopped processing",
    48: "double-bit ECC error",
    62: "internal micro-controller halt",
    64: "a bad page or row of its memory could not be taken out of use",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    95: "uncontained memory error",
    119: "GSP RPC timeout",
    120: "GSP error",
    140: "unrecovered ECC error",
}
"""The catalogue's action is a reset of the card, or a restart of the machine, before it is used again."""
_ENDS_A_PROGRAM = {
    8: "the GPU stopped processing for a program",
    13: "graphics engine exception",
    31: "GPU memory page fault",
    32: "invalid or corrupted push buffer",
    43: "the GPU stopped processing for a program",
    45: "preemptive cleanup after an earlier error",
    68: "video processor exception",
    69: "graphics engine class error",
    94: "contained memory error: it ended one program, the card goes on",
    109: "context switch timeout",
}
"""The catalogue's action is to start the program again, or NVIDIA's device plugin for Kubernetes lets the card go on.
13, 31, 43 and 45 are most often the program's own fault."""


@dataclass(frozen=True)
class XidEvent:
    """An Xid that was reported.

    Attributes:
        uuid: The card; a MIG instance is told of what happens to its card.
        xid: The number.
        at: When it was seen here, in seconds since the epoch.
    """

    uuid: str
    xid: int
    at: float

    @property
    def condemns(self) -> bool:
        """Whether nothing may be placed on the card until it was reset."""
        return self.xid in _NEEDS_RESET

    @property
    def text(self) -> str:
        """The number, and what it means.

        >>> XidEvent("GPU-a", 79, 0.0).text
        'Xid 79 (the GPU has fallen off the bus)'
        """
        meaning = _NEEDS_RESET.get(self.xid) or _ENDS_A_PROGRAM.get(self.xid) or "see NVIDIA's Xid catalogue"
        return f"Xid {self.xid} ({meaning})"
