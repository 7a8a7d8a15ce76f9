"""A configuration says what its job is."""

from __future__ import annotations

import pytest

from parallel_ml.config.manager import LoadedConfig
from parallel_ml.core.model import Resources
from parallel_ml.core.seeds import derive_seed
from parallel_ml.core.units import GIB, MIB
from parallel_ml.errors import ConfigError
from tests.unit.config.conftest import SECTIONS, Folder


def load(folder: Folder, text: str) -> LoadedConfig:
    """Return the configuration of a text."""
    return folder.load(folder.write("a.yaml", text)).jobs[0]


def test_a_training_with_its_defaults(folder: Folder) -> None:
    """One attempt, no limit, a batch of 32, and the seed of the place."""
    spec = load(folder, "data_preprocessing: {image_dir: d}\nmodel_training: {epochs: 4}\n").spec(3)
    assert (spec.position, spec.kind, spec.seed) == (3, "training", derive_seed(42, 3))
    assert (spec.batch_size, spec.accumulation, spec.epochs) == (32, 1, 4)
    assert (spec.max_attempts, spec.timeout_s, spec.grace_s, spec.resources) == (1, None, 10.0, Resources())


def test_all_that_can_be_asked_for(folder: Folder) -> None:
    """Each key ends up in the job's description."""
    spec = load(
        folder,
        f"{SECTIONS}priority: -3\ntimeout: 1h30m\ngrace: 3s\nretry: {{backoff: 1m}}\n"
        "resources: {gpus: 2, jobs_per_gpu: 3, gpu_memory: 4000MB, "
        "exclusive: true, cpus: 4, memory: 2GiB, allow_cpu: false}\n",
    ).spec(0)
    assert (spec.priority, spec.timeout_s, spec.grace_s, spec.max_attempts, spec.backoff_s) == (-3, 5400, 3, 3, 60)
    assert spec.resources == Resources(2, 3, 4000 * MIB, None, True, 4, 2 * GIB, False)


@pytest.mark.parametrize(
    ("written", "size", "fraction"),
    [
        ("4GiB", 4 * GIB, None),
        ("0.5", None, 0.5),
        ("1", None, 1.0),
        ("auto", None, None),
        ("'${GPU:-0.25}'", None, 0.25),
    ],
)
def test_gpu_memory_is_a_size_a_fraction_or_auto(
    folder: Folder, written: str, size: int | None, fraction: float | None
) -> None:
    """All three spellings of the contract."""
    resources = load(folder, f"{SECTIONS}resources: {{gpu_memory: {written}}}\n").spec(0).resources
    assert (resources.gpu_memory_bytes, resources.gpu_memory_fraction) == (size, fraction)


def test_an_own_program_needs_no_section(folder: Folder) -> None:
    """It has neither batch nor epochs then."""
    spec = load(folder, "command: python train.py --name 'a b'\n").spec(0)
    assert (spec.kind, spec.batch_size, spec.epochs, spec.seed) == ("command", None, None, derive_seed(42, 0))


def test_an_own_program_may_hold_any_section_in_part(folder: Folder) -> None:
    """What it names counts, and its words need not be those of the built-in training."""
    spec = load(
        folder,
        "command: [python, t.py]\ndata_preprocessing: {batch_size: 6}\n"
        "model_training: {model: resnet18, optimizer: sam, "
        "early_stopping: {monitor: val_f1}, checkpoint: {filepath: best.pt}}\n",
    ).spec(0)
    assert (spec.batch_size, spec.epochs) == (6, None)


def test_a_command_is_split_as_a_shell_would(folder: Folder) -> None:
    """A text is as good as a list."""
    assert load(folder, "command: python train.py --name 'a b'\n").config.command == [
        "python",
        "train.py",
        "--name",
        "a b",
    ]


def test_a_model_path_beside_the_checkpoint_is_doubted(folder: Folder) -> None:
    """It follows the checkpoint, so the user is told."""
    (warning,) = load(folder, SECTIONS.replace("model_path: 'best", "model_path: 'other")).warnings
    assert warning.startswith("a.yaml:10: result_analysis.model_path: is not the checkpoint's path")


def test_values_for_an_own_program_are_doubted_without_one(folder: Folder) -> None:
    """The built-in training would not read them."""
    (warning,) = load(folder, f"{SECTIONS}params: {{a: 1}}\n").warnings
    assert warning.startswith("a.yaml:11: params: are for an own program")


@pytest.mark.parametrize(
    ("written", "model"), [("CNN", "cnn"), ("mobilenetv2", "MobileNetV2"), ("my.nets:build", "my.nets:build")]
)
def test_models_are_named_as_they_are(folder: Folder, written: str, model: str) -> None:
    """Upper and lower case do not matter where the name is known."""
    training = load(folder, SECTIONS.replace("epochs: 4", f"epochs: 4\n  model: {written}")).config.model_training
    assert training is not None
    assert training.model == model


def test_a_split_that_is_left_out_is_none(folder: Folder) -> None:
    """Two shares that add up to 1 are enough."""
    data = load(folder, SECTIONS.replace("validation: 0.1, test: 0.1", "test: 0.2")).config.data_preprocessing
    assert data is not None
    assert data.split_ratios.model_dump() == {"train": 0.8, "validation": 0.0, "test": 0.2}


def test_a_log_has_the_cap_that_was_asked_for(folder: Folder) -> None:
    """None without; never so small that a line would not fit."""
    assert load(folder, SECTIONS).spec(0).log_max_bytes is None
    assert load(folder, f"{SECTIONS}log: {{max_size: 100MiB}}\n").spec(0).log_max_bytes == 100 * MIB
    with pytest.raises(ConfigError, match=r"log\.max_size: must be a size from 1MiB to 16384GiB, not '512KiB'"):
        load(folder, f"{SECTIONS}log: {{max_size: 512KiB}}\n")
