"""A folder to write configurations into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_ml.config.manager import ConfigManager
from parallel_ml.errors import ConfigError, ConfigProblem

SECTIONS = """\
data_preprocessing:
  image_dir: 'sample_data/images'
  batch_size: 32
  split_ratios: {train: 0.8, validation: 0.1, test: 0.1}
  random_state: 42
model_training:
  epochs: 4
  checkpoint: {filepath: 'best_model.keras'}
result_analysis:
  model_path: 'best_model.keras'
"""


class Folder:
    """A folder of configurations, and what loading them gives."""

    def __init__(self, path: Path) -> None:
        """Use a folder that is there."""
        self.path = path
        self.environ: dict[str, str] = {}

    def write(self, name: str, text: str = SECTIONS) -> str:
        """Write a file and return its name."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name

    def load(self, *paths: str | Path) -> ConfigManager:
        """Load what is named, or the default."""
        return ConfigManager(list(paths) or None, cwd=self.path, environ=self.environ)

    def problems(self, *paths: str | Path) -> tuple[ConfigProblem, ...]:
        """Return what is wrong with what is named."""
        with pytest.raises(ConfigError) as caught:
            self.load(*paths)
        return caught.value.problems


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(tmp_path)


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """Make an image folder; the files are only counted, so they are empty."""

    def make(**classes: int) -> Path:
        root = tmp_path / "sample_data" / "images"
        root.mkdir(parents=True)
        for name, count in classes.items():
            (root / name).mkdir()
            for number in range(count):
                (root / name / f"{number}.png").touch()
        return root

    return make
