"""The same for built-in trainings: what comes out of one that is killed at random is that of one left alone."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_ml.core.model import JobState
from parallel_ml.store.run_view import RunView
from tests.chaos.storm import Report, disturb, states_of
from tests.chaos.world import World

MODELS = ("mlp", "cnn")
_OF_THE_CLOCK = ("seconds", "time", "timestamp", "duration")


@dataclass(frozen=True)
class Training:
    """A small training of the built-in pipeline."""

    name: str
    images: Path
    seed: int

    def config(self, folder: Path) -> dict[str, Any]:
        """Return its configuration."""
        training = {"model": self.name, "epochs": 12}
        return {
            "name": self.name,
            "data_preprocessing": {"image_dir": str(self.images), "batch_size": 4, "random_state": self.seed},
            "model_training": {**training, "checkpoint": {"filepath": str(folder / f"{self.name}.keras")}},
            "result_analysis": {"model_path": str(folder / f"{self.name}.keras")},
            "retry": {"max_attempts": 100, "backoff": "10ms"},
        }


def training_storm(folder: Path, seed: int, *, seconds: float) -> Report:
    """Train undisturbed and disturbed, and compare the last states, the figures and the history bit by bit."""
    from tests.e2e.trainings import draw  # noqa: PLC0415 - needs Pillow

    rng, begun = random.Random(seed), time.monotonic()  # noqa: S311 - no secret
    images = draw(folder / "images", 24, 16)
    plans = [Training(name, images, seed) for name in MODELS]
    calm, stormy = World(folder / "calm", plans), World(folder / "stormy", plans)
    try:
        found = calm.finish()
        supervisors = disturb(stormy, rng, seconds, longest_pause_s=8.0, reckless=0.0)
        found += stormy.finish()
        found += [fault for plan in plans for fault in _differences(calm, stormy, plan.name)]
        kills = Counter(victim.role for victim in stormy.kills)
        states, orders = states_of(stormy), len(stormy.orders)
        return Report(seed, len(plans), kills, orders, supervisors, states, time.monotonic() - begun, tuple(found))
    finally:
        calm.close()
        stormy.close()


def _differences(calm: World, stormy: World, job: str) -> Iterator[str]:
    from tests.e2e.trainings import assert_same  # noqa: PLC0415

    states = [RunView(world.layout).state.jobs[job] for world in (calm, stormy)]
    if states[0].state is not JobState.SUCCEEDED:
        yield f"{job}: undisturbed it is {states[0].state.value}: {states[0].error}"
    elif states[1].state is not JobState.SUCCEEDED:
        yield f"{job}: it is {states[1].state.value} after {states[1].losses} losses: {states[1].error}"
    else:
        one, other = (world.layout.job(job) for world in (calm, stormy))
        try:
            assert_same(one.dir, other.dir)
        except AssertionError as error:
            yield f"{job}: the last states differ: {error}"
        if _figures(one.result) != _figures(other.result):
            yield f"{job}: the results differ: {_figures(one.result)} and {_figures(other.result)}"


def _figures(path: Path) -> dict[str, Any]:
    """Return a result but for its times and paths."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in told.items() if not isinstance(value, str) and not key.endswith(_OF_THE_CLOCK)}
