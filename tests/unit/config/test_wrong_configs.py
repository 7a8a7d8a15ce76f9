"""Every wrong input is told with its file, line and key, in plain words, and all at once."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import SECTIONS, Folder

DATA = "data_preprocessing: {image_dir: d}\n"
TABLE = "data_preprocessing:\n  train_data_path: a.csv\n  target_column: y\n"
TRAINING = "model_training: {epochs: 1}\n"
PLAIN = DATA + TRAINING
OWN = "command: [python, t.py]\n"

# What is written, and then the line, the key and a part of what is said of it.
WRONG = {
    "an unknown top key": (PLAIN + "modl: 1\n", 3, "modl", "not a known key"),
    "a misspelt section": (PLAIN + "reslt_analysis: {}\n", 3, "reslt_analysis", "did you mean result_analysis?"),
    "a misspelt key": (
        DATA + "model_training:\n  epochs: 1\n  optimiser: sgd\n",
        4,
        "model_training.optimiser",
        "optimizer?",
    ),
    "a shortened key": (
        TRAINING + "data_preprocessing:\n  image_dir: d\n  split_ratios: {train: 0.8, val: 0.1, test: 0.1}\n",
        4,
        "data_preprocessing.split_ratios.val",
        "did you mean validation?",
    ),
    "a key in the wrong place": (PLAIN + "learning_rate: 0.1\n", 3, "learning_rate", "model_training.learning_rate"),
    "a key written twice": (PLAIN + DATA, 3, "data_preprocessing", "written twice, first in line 1"),
    "no data": (TRAINING, 1, "data_preprocessing", "is missing, and with it data_preprocessing.image_dir"),
    "a section without a value": (DATA + "model_training:\n", 2, "model_training", "model_training.epochs"),
    "no image folder": (
        "data_preprocessing: {batch_size: 3}\n" + TRAINING,
        1,
        "data_preprocessing.image_dir",
        "is missing",
    ),
    "no epochs": (DATA + "model_training: {}\n", 2, "model_training.epochs", "is missing"),
    "epochs without a value": (DATA + "model_training:\n  epochs:\n", 3, "model_training.epochs", "has no value"),
    "epochs in words": (DATA + "model_training: {epochs: ten}\n", 2, "model_training.epochs", "not 'ten'"),
    "epochs that are true": (DATA + "model_training: {epochs: true}\n", 2, "model_training.epochs", "not true"),
    "half an epoch": (DATA + "model_training: {epochs: 1.5}\n", 2, "model_training.epochs", "a whole number"),
    "no epochs at all": (
        DATA + "model_training: {epochs: 0}\n",
        2,
        "model_training.epochs",
        "from 1 to 1000000, not 0",
    ),
    "endless epochs": (DATA + "model_training: {epochs: .inf}\n", 2, "model_training.epochs", "not inf"),
    "a list of epochs": (DATA + "model_training: {epochs: [1, 2]}\n", 2, "model_training.epochs", "not a list"),
    "a huge batch": (
        TRAINING + f"data_preprocessing: {{image_dir: d, batch_size: {10**30}}}\n",
        2,
        "data_preprocessing.batch_size",
        "from 1 to 1048576",
    ),
    "an unreadably huge batch": (
        TRAINING + f"data_preprocessing: {{image_dir: d, batch_size: {'9' * 5000}}}\n",
        2,
        "data_preprocessing.batch_size",
        "a whole number",
    ),
    "a negative batch": (
        TRAINING + "data_preprocessing: {image_dir: d, batch_size: -1}\n",
        2,
        "data_preprocessing.batch_size",
        "not -1",
    ),
    "an empty folder name": (
        TRAINING + "data_preprocessing: {image_dir: ''}\n",
        2,
        "data_preprocessing.image_dir",
        "empty",
    ),
    "a section that is a list": (DATA + "model_training: [1]\n", 2, "model_training", "keys with values, not a list"),
    "a section that is a number": (TRAINING + "data_preprocessing: 5\n", 2, "data_preprocessing", "not 5"),
    "splits that do not add up": (
        TRAINING + "data_preprocessing:\n  image_dir: d\n  split_ratios: {train: 0.8, validation: 0.1, test: 0.2}\n",
        4,
        "data_preprocessing.split_ratios",
        "must add up to 1, not to 1.1",
    ),
    "nothing to train on": (
        TRAINING + "data_preprocessing:\n  image_dir: d\n  split_ratios: {train: 0, test: 0.9}\n",
        4,
        "data_preprocessing.split_ratios.train",
        "above 0 and up to 1, not 0",
    ),
    "an unknown colour mode": (
        TRAINING + "data_preprocessing: {image_dir: d, color_mode: grey}\n",
        2,
        "data_preprocessing.color_mode",
        "rgb, grayscale",
    ),
    "splits in percent": (
        TRAINING + "data_preprocessing:\n  image_dir: d\n  split_ratios: {train: 80, validation: 0.1, test: 0.1}\n",
        4,
        "data_preprocessing.split_ratios.train",
        "above 0 and up to 1, not 80",
    ),
    "a split left out": (
        TRAINING + "data_preprocessing:\n  image_dir: d\n  split_ratios: {validation: 0.8, test: 0.2}\n",
        4,
        "data_preprocessing.split_ratios",
        "must name train",
    ),
    "a split that is not a number": (
        TRAINING + "data_preprocessing:\n  image_dir: d\n  split_ratios: {train: .nan, validation: 0.1, test: 0.1}\n",
        4,
        "data_preprocessing.split_ratios.train",
        "not nan",
    ),
    "an image size of three numbers": (
        TRAINING + "data_preprocessing: {image_dir: d, image_size: [1, 2, 3]}\n",
        2,
        "data_preprocessing.image_size",
        "[height, width]",
    ),
    "a seed below zero": (
        TRAINING + "data_preprocessing: {image_dir: d, random_state: -3}\n",
        2,
        "data_preprocessing.random_state",
        "not -3",
    ),
    "a learning rate of zero": (
        DATA + "model_training: {epochs: 1, learning_rate: 0}\n",
        2,
        "model_training.learning_rate",
        "above 0 and up to 10",
    ),
    "a dropout of one": (
        DATA + "model_training: {epochs: 1, dropout_rate: 1}\n",
        2,
        "model_training.dropout_rate",
        "below 1",
    ),
    "a layer of nothing": (
        DATA + "model_training: {epochs: 1, hidden_units: [64, 0]}\n",
        2,
        "model_training.hidden_units[1]",
        "not 0",
    ),
    "a layer of nothing alone": (
        DATA + "model_training: {epochs: 1, hidden_units: 0}\n",
        2,
        "model_training.hidden_units",
        "not 0",
    ),
    "no layers in a list": (
        DATA + "model_training: {epochs: 1, hidden_units: []}\n",
        2,
        "model_training.hidden_units",
        "1 to 64 values",
    ),
    "an unknown model": (
        DATA + "model_training: {epochs: 1, model: resnet51}\n",
        2,
        "model_training.model",
        "did you mean ResNet50",
    ),
    "two models": (
        DATA + "model_training: {epochs: 1, model: cnn, model_type: mlp}\n",
        2,
        "model_training.model_type",
        "model says cnn",
    ),
    "an unknown optimizer": (
        DATA + "model_training: {epochs: 1, optimizer: adamm}\n",
        2,
        "model_training.optimizer",
        "did you mean adam?",
    ),
    "an unknown schedule": (
        DATA + "model_training: {epochs: 1, learning_rate_scheduler: stp}\n",
        2,
        "model_training.learning_rate_scheduler",
        "step, plateau, cosine",
    ),
    "a schedule without a type": (
        DATA + "model_training: {epochs: 1, learning_rate_scheduler: {gamma: 0.1}}\n",
        2,
        "model_training.learning_rate_scheduler",
        "must have a type",
    ),
    "another schedule's key": (
        DATA + "model_training:\n  epochs: 1\n  learning_rate_scheduler:\n    type: step\n    warmup_epochs: 3\n",
        6,
        "model_training.learning_rate_scheduler.warmup_epochs",
        "known here: gamma, step_size, type",
    ),
    "a schedule's bad value": (
        DATA + "model_training:\n  epochs: 1\n  learning_rate_scheduler:\n    type: plateau\n    factor: 2\n",
        6,
        "model_training.learning_rate_scheduler.factor",
        "not 2",
    ),
    "an unknown monitor": (
        DATA + "model_training: {epochs: 1, early_stopping: {monitor: val_los}}\n",
        2,
        "model_training.early_stopping.monitor",
        "did you mean val_loss?",
    ),
    "patience twice": (
        DATA + "model_training: {epochs: 1, early_stopping: {patience: 3}, early_stopping_patience: 4}\n",
        2,
        "model_training.early_stopping_patience",
        "write one of the two",
    ),
    "yes for true": (
        DATA + "model_training: {epochs: 1, mixed_precision: yes}\n",
        2,
        "model_training.mixed_precision",
        "must be true or false, not 'yes'",
    ),
    "a checkpoint that climbs out": (
        DATA + "model_training: {epochs: 1, checkpoint: {filepath: ../best.keras}}\n",
        2,
        "model_training.checkpoint.filepath",
        "must not climb out",
    ),
    "a checkpoint that is a folder": (
        DATA + "model_training: {epochs: 1, checkpoint: {filepath: models/}}\n",
        2,
        "model_training.checkpoint.filepath",
        "must name a file",
    ),
    "a checkpoint of another kind": (
        DATA + "model_training: {epochs: 1, checkpoint: {filepath: best.pt}}\n",
        2,
        "model_training.checkpoint.filepath",
        "must end in .keras",
    ),
    "a state saved never": (
        DATA + "model_training: {epochs: 1, checkpoint: {every: 0}}\n",
        2,
        "model_training.checkpoint.every",
        "a number of updates such as 500, or a time such as 10m",
    ),
    "no state kept": (
        DATA + "model_training: {epochs: 1, checkpoint: {keep: 0}}\n",
        2,
        "model_training.checkpoint.keep",
        "from 1 to 100",
    ),
    "a checkpoint for each epoch": (
        DATA + "model_training: {epochs: 1, checkpoint: {filepath: 'm-{epoch}.keras'}}\n",
        2,
        "model_training.checkpoint.filepath",
        "without '{...}'",
    ),
    "a model path that climbs out": (
        PLAIN + "result_analysis: {model_path: a/../../b.keras}\n",
        3,
        "result_analysis.model_path",
        "..",
    ),
    "a name with a slash": (PLAIN + "name: ../x\n", 3, "name", "letters, digits"),
    "a name of dots": (PLAIN + "name: ..\n", 3, "name", "letters, digits"),
    "an empty name": (PLAIN + "name: ''\n", 3, "name", "must not be empty"),
    "a name that is a list": (PLAIN + "name: [a]\n", 3, "name", "must be text, not a list"),
    "yes for a number of cards": (PLAIN + "resources: {gpus: yes}\n", 3, "resources.gpus", "not 'yes'"),
    "half a card": (PLAIN + "resources: {gpus: 0.5}\n", 3, "resources.gpus", "a whole number"),
    "memory without a unit": (PLAIN + "resources: {gpu_memory: 4000}\n", 3, "resources.gpu_memory", "4GiB"),
    "memory in a strange unit": (PLAIN + "resources: {memory: 4Gig}\n", 3, "resources.memory", "4GiB"),
    "too little memory": (PLAIN + "resources: {memory: 4}\n", 3, "resources.memory", "write the unit"),
    "nowhere to run": (
        PLAIN + "resources: {gpus: 0, allow_cpu: false}\n",
        3,
        "resources.allow_cpu",
        "asks for the CPU",
    ),
    "an unknown resource": (PLAIN + "resources: {gpu: 1}\n", 3, "resources.gpu", "did you mean gpus?"),
    "a bad duration": (PLAIN + "timeout: soon\n", 3, "timeout", "such as 10s"),
    "no time at all": (PLAIN + "timeout: 0\n", 3, "timeout", "at least 0.1s"),
    "no attempts": (PLAIN + "retry: {max_attempts: 0}\n", 3, "retry.max_attempts", "from 1 to 100"),
    "an infinite priority": (PLAIN + "priority: .inf\n", 3, "priority", "a whole number"),
    "an unknown log level": (PLAIN + "logging: {level: verbose}\n", 3, "logging.level", "DEBUG, INFO"),
    "a folder without a command": (PLAIN + "cwd: src\n", 3, "cwd", "there is no command"),
    "output without a command": (
        PLAIN + "metrics_from_output: false\n",
        3,
        "metrics_from_output",
        "there is no command",
    ),
    "an empty command": ("command: []\n", 1, "command", "must be a list"),
    "a command without its quote": ("command: python 'train.py\n", 1, "command", "not closed"),
    "a command of mappings": ("command: [python, {a: 1}]\n", 1, "command", "one part is a mapping"),
    "an environment of lists": (OWN + "env: {A: [1]}\n", 2, "env.A", "must be text, not a list"),
    "an environment without a value": (OWN + "env: {A: }\n", 2, "env.A", "not nothing"),
    "a reserved variable": (OWN + "env: {CUDA_VISIBLE_DEVICES: 0}\n", 2, "env.CUDA_VISIBLE_DEVICES", "use resources"),
    "a variable with a strange name": (OWN + "env: {'A=B': 1}\n", 2, "env.A=B", "environment variable"),
    "free values that are a list": (OWN + "params: [1]\n", 2, "params", "keys with values"),
    "a dependency on nobody": (OWN + "name: a\ndepends_on: b\n", 3, "depends_on", "there is no job b"),
    "a dependency on itself": (OWN + "name: a\ndepends_on: [a]\n", 3, "depends_on", "in a circle: a -> a"),
    "an unset variable": (OWN + "cwd: ${NOWHERE}\n", 2, "cwd", "NOWHERE is not set"),
    "a broken variable": (OWN + "params: {a: ['${1x}']}\n", 2, "params.a[0]", "'${' is not followed by"),
    "a variable with a bad value": (
        DATA + "model_training: {epochs: '${WORD}'}\n",
        2,
        "model_training.epochs",
        "from ${WORD}",
    ),
    "alerts": (PLAIN + "alerts: [val_loss >]\n", 3, "alerts[0]", "cannot be understood"),
    "notifications": (
        PLAIN + "notifications: {emial_enabled: true}\n",
        3,
        "notifications.emial_enabled",
        "not a known",
    ),
    "a sweep": (PLAIN + "sweep: {}\n", 3, "sweep", "not in this version"),
    "images and a table": (
        TRAINING + "data_preprocessing:\n  image_dir: d\n  train_data_path: a.csv\n",
        4,
        "data_preprocessing.train_data_path",
        "is for a table, and the data are images",
    ),
    "a table without a target": (
        TRAINING + "data_preprocessing: {train_data_path: a.csv}\n",
        2,
        "data_preprocessing.target_column",
        "is missing",
    ),
    "a target without a table": (
        TRAINING + "data_preprocessing: {target_column: y}\n",
        2,
        "data_preprocessing.train_data_path",
        "is missing",
    ),
    "an image size for a table": (
        TRAINING + "data_preprocessing:\n  train_data_path: a.csv\n  target_column: y\n  image_size: 32\n",
        5,
        "data_preprocessing.image_size",
        "is for images, and the data are a table",
    ),
    "a feature twice": (
        TRAINING + TABLE + "  feature_columns:\n  - a\n  - b\n  - a\n",
        8,
        "data_preprocessing.feature_columns[2]",
        "names a a second time",
    ),
    "the target as a feature": (
        TRAINING + TABLE + "  feature_columns: [a, y]\n",
        5,
        "data_preprocessing.feature_columns[1]",
        "names the target y",
    ),
    "a category that is no feature": (
        TRAINING + TABLE + "  feature_columns: a\n  categorical_columns: b\n",
        6,
        "data_preprocessing.categorical_columns",
        "names b, which is not among feature_columns",
    ),
    "an unknown algorithm": (
        TRAINING + TABLE + "  algorithm_type: clasification\n",
        5,
        "data_preprocessing.algorithm_type",
        "must be one of classification, regression, not 'clasification'",
    ),
    "a model of images for a table": (
        TABLE + "model_training: {epochs: 1, model: cnn}\n",
        4,
        "model_training.model",
        "cnn is for images",
    ),
    "a loss for classes": (
        TABLE + "  algorithm_type: classification\nmodel_training: {epochs: 1, loss: mae}\n",
        5,
        "model_training.loss",
        "is for a regression",
    ),
    "an accuracy of numbers": (
        TABLE + "  algorithm_type: regression\nmodel_training: {epochs: 1, early_stopping: {monitor: val_accuracy}}\n",
        5,
        "model_training.early_stopping.monitor",
        "a regression has no val_accuracy",
    ),
    "an error of images": (
        DATA + "model_training:\n  epochs: 1\n  learning_rate_scheduler: {type: plateau, monitor: val_mae}\n",
        4,
        "model_training.learning_rate_scheduler.monitor",
        "a classification has no val_mae",
    ),
    "distributed training": (
        DATA + "model_training: {epochs: 1, distribute: mirrored}\n",
        2,
        "model_training.distribute",
        "not in this version",
    ),
    "an empty file": ("", None, "", "is empty"),
    "a file of comments": ("# nothing\n", None, "", "is empty"),
    "a text": ("hello\n", 1, "", "keys with values"),
    "a list": ("- a\n- b\n", 1, "", "keys with values"),
    "a tab": ("model_training:\n\tepochs: 1\n", 2, "", "a tab"),
    "bad indentation": ("model_training:\n  epochs: 1\n epochs: 2\n", 3, "", "indentation"),
    "two colons": ("a: b: c\n", 1, "", "':' stands where none is allowed"),
    "an open bracket": ("a: [1, 2\nb: 3\n", 2, "", "bracket"),
    "an open quote": ("a: 'x\n", 2, "", "a quote is not closed"),
    "an unknown anchor": ("a: *b\n", 1, "", "alias"),
    "two documents": ("a: 1\n---\nb: 1\n", 2, "", "more than one document"),
    "a tag": (OWN + "cwd: !!python/name:os.system x\n", 2, "cwd", "tag"),
    "a key that is a list": (OWN + "params:\n  [a, b]: 1\n", 3, "params", "a key must be text"),
    "an anchor that holds itself": (OWN + "params: &a {b: *a}\n", 2, "", "holds itself"),
    "very deep nesting": ("a: " + "[" * 3000, 1, "", "levels deep"),
    "control characters": ("a: \x01\n", None, "", "not text"),
}


@pytest.mark.parametrize(("text", "line", "key", "part"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_is_told_with_its_place(folder: Folder, text: str, line: int | None, key: str, part: str) -> None:
    """The one problem names file, line and key, and says what is allowed."""
    folder.environ["WORD"] = "many"
    (problem,) = folder.problems(folder.write("bad.yaml", text))
    assert (problem.file, problem.line, problem.key) == ("bad.yaml", line, key)
    assert part in f"{problem.message}; {problem.hint}"


@pytest.mark.parametrize("text", [case[0] for case in WRONG.values()], ids=WRONG.keys())
def test_no_message_speaks_of_the_validator(folder: Folder, text: str) -> None:
    """The words of the validation library are for programmers."""
    (problem,) = folder.problems(folder.write("bad.yaml", text))
    assert not any(word in str(problem) for word in ("Input", "pydantic", "valid ", "Extra inputs", "Traceback", "<"))


def test_every_wrong_entry_of_a_list_is_told(folder: Folder) -> None:
    """Each with its place, and its line where it has one of its own."""
    text = DATA + "model_training:\n  epochs: 1\n  hidden_units:\n    - 0\n    - 64\n    - -3\n"
    told = [(one.line, one.key, one.message) for one in folder.problems(folder.write("a.yaml", text))]
    wanted = "must be a whole number from 1 to 65536, not"
    assert told == [
        (5, "model_training.hidden_units[0]", f"{wanted} 0"),
        (7, "model_training.hidden_units[2]", f"{wanted} -3"),
    ]


def test_all_problems_of_all_files_come_at_once(folder: Folder) -> None:
    """Nobody mends one value, runs, and learns of the next."""
    folder.write("a.yaml", "model_training: {epochs: 0}\nalert: 1\n")
    folder.write("c.yaml", SECTIONS + "sweep: {}\n")
    problems = folder.problems("a.yaml", "missing.yaml", "c.yaml")
    assert [(problem.file, problem.line, problem.key) for problem in problems] == [
        ("a.yaml", 1, "data_preprocessing"),
        ("a.yaml", 1, "model_training.epochs"),
        ("a.yaml", 2, "alert"),
        ("missing.yaml", None, ""),
        ("c.yaml", 11, "sweep"),
    ]


def test_a_message_stays_short_whatever_the_value(folder: Folder) -> None:
    """A value of a megabyte is not printed."""
    (problem,) = folder.problems(folder.write("bad.yaml", f"{PLAIN}name: {'x' * 100_000}\n"))
    assert len(str(problem)) < 200
