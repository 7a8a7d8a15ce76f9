"""How a job's further attempts and epochs differ from what was asked for. Frozen data only."""

from __future__ import annotations

from parallel_ml.records import dataclass


@dataclass(frozen=True)
class Adjustment:
    """How a job's further attempts differ from what was asked for, since one ran out of memory (`ladder.py`).

    Attributes:
        steps: Steps that were taken, of any kind.
        halvings: Of these, how often the batch was halved.
        batch_size: Samples at a time, and with `accumulation` as many an update as before; None is as asked for.
        evaluation_batch_size: Samples at a time while the model is judged; None is as in training.
        gpu_memory_bytes: The grant on each card; None is as asked for.
        on_cpu: No card any more.
    """

    steps: int = 0
    halvings: int = 0
    batch_size: int | None = None
    accumulation: int | None = None
    evaluation_batch_size: int | None = None
    gpu_memory_bytes: int | None = None
    on_cpu: bool = False


AS_ASKED = Adjustment()
"""Nothing differs from what was asked for."""


@dataclass(frozen=True)
class RateCut:
    """An order to a built-in training: multiply the learning rate from an epoch on.

    Attributes:
        number: 1 for the job's first. A training obeys each once, whatever becomes of its attempts.
        from_epoch: The first epoch (from 1) that it holds for; later where that one had begun already.
        factor: In (0, 1).
        least: The rate does not fall below this.
    """

    number: int
    from_epoch: int
    factor: float
    least: float = 0.0
