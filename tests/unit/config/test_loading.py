"""Files, folders, globs, bases and variables become configurations."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ml.config.manager import ConfigManager, load_snapshot
from parallel_ml.config.tree import plain
from parallel_ml.config.yaml_text import SECRET_KEYS, dump, parse
from parallel_ml.errors import ConfigError
from tests.unit.config.conftest import SECTIONS, Folder

OWN = "command: [python, t.py]\n"


def names(manager: ConfigManager) -> list[str]:
    """Return the names of the jobs."""
    return [job.name for job in manager.jobs]


def test_the_three_sections_alone_are_complete(folder: Folder) -> None:
    """What the contract shows loads as it is."""
    (job,) = folder.load(folder.write("config1.yaml", SECTIONS)).jobs
    assert (job.name, job.source, job.config.built_in, job.warnings) == ("config1", "config1.yaml", True, ())


def test_without_a_path_the_default_file_is_read(folder: Folder) -> None:
    """None is config/config.yaml."""
    folder.write("config/config.yaml")
    assert names(folder.load()) == ["config"]


def test_without_a_path_and_a_default_file_the_user_is_told(folder: Folder) -> None:
    """The message names the file that was looked for."""
    (problem,) = folder.problems()
    assert (problem.file, problem.message) == ("config/config.yaml", "there is no such file")


def test_an_empty_list_is_an_error(folder: Folder) -> None:
    """It is not taken for the default."""
    with pytest.raises(ConfigError, match="no configuration was given"):
        ConfigManager([], cwd=folder.path, environ={})


def test_an_empty_name_is_an_error(folder: Folder) -> None:
    """It is not taken for the current folder."""
    folder.write("a.yaml")
    assert [problem.message for problem in folder.problems("")] == ["the name of a configuration is empty"]


def test_a_folder_gives_its_own_files_sorted(folder: Folder) -> None:
    """Neither those below it nor hidden ones."""
    for name in ("c/b.yaml", "c/a.yml", "c/sub/x.yaml", "c/.hidden.yaml", "c/notes.txt"):
        folder.write(name)
    manager = folder.load("c")
    assert [job.source for job in manager.jobs] == ["c/a.yml", "c/b.yaml"]


def test_a_folder_without_configurations_is_an_error(folder: Folder) -> None:
    """An empty run is not started."""
    (folder.path / "c").mkdir()
    assert [problem.message for problem in folder.problems("c")] == ["the folder has no *.yaml of its own"]


def test_a_glob_gives_what_matches_sorted(folder: Folder) -> None:
    """For shells that leave it as it is."""
    folder.write("c/b.yaml")
    folder.write("c/a.yaml")
    assert [job.source for job in folder.load("c/*.yaml").jobs] == ["c/a.yaml", "c/b.yaml"]


def test_a_glob_without_a_match_is_an_error(folder: Folder) -> None:
    """It is told as it was written."""
    assert [(problem.file, problem.message) for problem in folder.problems("*.yaml")] == [("*.yaml", "no file matches")]


def test_a_named_pipe_is_not_waited_for(folder: Folder) -> None:
    """Reading one would hang."""
    os.mkfifo(folder.path / "pipe.yaml")
    assert [problem.message for problem in folder.problems("pipe.yaml")] == ["is not a regular file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_told(folder: Folder) -> None:
    """With the system's reason."""
    (folder.path / folder.write("a.yaml")).chmod(0)
    assert "Permission denied" in folder.problems("a.yaml")[0].message


def test_a_binary_file_is_told(folder: Folder) -> None:
    """An image given for a configuration is no traceback."""
    (folder.path / "a.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    assert [problem.message for problem in folder.problems("a.yaml")] == ["is not UTF-8 text"]


def test_a_huge_file_is_not_parsed(folder: Folder) -> None:
    """A data set given for a configuration is refused at once."""
    folder.write("a.yaml", "a: " + "x" * 2_000_000)
    assert "larger than 1 MiB" in folder.problems("a.yaml")[0].message


def test_a_billion_laughs_are_refused(folder: Folder) -> None:
    """Anchors that grow tenfold nine times are counted, not written out."""
    levels = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (problem,) = folder.problems(folder.write("a.yaml", "\n".join(levels)))
    assert problem.message == "holds more than 100000 values"


def test_merge_keys_cannot_grow_without_bound_either(folder: Folder) -> None:
    """`<<` with a list of aliases is the same attack."""
    levels = ["a0: &a0 {x: 1}"]
    levels += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    (problem,) = folder.problems(folder.write("a.yaml", "\n".join(levels)))
    assert problem.message == "holds more than 100000 values"


def test_anchors_and_merge_keys_work(folder: Folder) -> None:
    """They are everyday YAML; a key of the mapping itself wins."""
    folder.write("a.yaml", f"{OWN}params:\n  base: &base {{lr: 0.1, size: 3}}\n  big: {{<<: *base, size: 9}}\n")
    assert folder.load("a.yaml").jobs[0].config.params["big"] == {"lr": 0.1, "size": 9}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("yes", "yes"),
        ("010", "010"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", 1000),
    ],
)
def test_scalars_are_those_of_yaml_1_2(folder: Folder, written: str, value: object) -> None:
    """YAML 1.1 reads text, a truth value, octal, base 60 and a date."""
    folder.write("a.yaml", f"{OWN}params: {{a: {written}}}\n")
    assert folder.load("a.yaml").jobs[0].config.params["a"] == value


def test_texts_stay_as_they_are_written(folder: Folder) -> None:
    """A version in a variable or an argument is not a number."""
    folder.write("a.yaml", "name: 007\ncommand: [python, 1.10, true, 1e-3]\nenv: {VERSION: 1.10, DEBUG: on}\n")
    (job,) = folder.load("a.yaml").jobs
    assert (job.name, job.config.command) == ("007", ["python", "1.10", "true", "1e-3"])
    assert job.config.env == {"VERSION": "1.10", "DEBUG": "on"}


def test_an_extending_file_is_laid_on_its_base(folder: Folder) -> None:
    """Mappings are merged, lists replaced; the path is relative to the extending file; the name is not handed on."""
    folder.write("base/b.yaml", f"{SECTIONS}name: base\nparams: {{list: [1, 2], keep: 1}}\n")
    folder.write("c/a.yaml", "extends: ../base/b.yaml\nmodel_training: {epochs: 9}\nparams: {list: [3]}\n")
    (job,) = folder.load("c/a.yaml").jobs
    assert job.config.model_training is not None
    assert (job.config.model_training.epochs, job.config.model_training.checkpoint.filepath) == (9, "best_model.keras")
    assert (job.name, job.config.params) == ("a", {"list": [3], "keep": 1})


def test_later_bases_win(folder: Folder) -> None:
    """A list is laid one on the other in its order."""
    folder.write("one.yaml", f"{SECTIONS}priority: 1\n")
    folder.write("two.yaml", "priority: 2\n")
    folder.write("a.yaml", "extends: [one.yaml, two.yaml]\n")
    assert folder.load("a.yaml").jobs[0].config.priority == 2


def test_a_wrong_value_of_a_base_names_the_base(folder: Folder) -> None:
    """With the line in the base, once, however many files extend it."""
    folder.write("base.yaml", f"{SECTIONS}priority: high\n")
    folder.write("a.yaml", "extends: base.yaml\n")
    folder.write("b.yaml", "extends: base.yaml\n")
    (problem,) = folder.problems("a.yaml", "b.yaml")
    assert (problem.file, problem.line, problem.key) == ("base.yaml", 11, "priority")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("extends: gone.yaml\n", "there is no file gone.yaml"),
        ("extends: a.yaml\n", "extends itself"),
        ("extends: b.yaml\n", "extends itself by way of a.yaml"),
        ("extends: 5\n", "must be a file"),
        ("extends: ${GONE}.yaml\n", "GONE is not set"),
    ],
)
def test_a_base_that_cannot_be_is_told(folder: Folder, text: str, part: str) -> None:
    """Missing ones, circles, and what is no path."""
    folder.write("a.yaml", text)
    folder.write("b.yaml", "extends: a.yaml\n")
    (problem,) = folder.problems("a.yaml")
    assert (problem.line, problem.key) == (1, "extends")
    assert part in problem.message


def test_variables_are_replaced(folder: Folder) -> None:
    """Within text, with defaults, and escaped."""
    folder.environ.update(WHO="me", EMPTY="")
    folder.write(
        "a.yaml", f"{OWN}params: {{a: 'x-${{WHO}}', b: '${{NONE:-no}}', c: '${{EMPTY:-no}}', d: '$${{WHO}} $5'}}\n"
    )
    params = folder.load("a.yaml").jobs[0].config.params
    assert params == {"a": "x-me", "b": "no", "c": "no", "d": "${WHO} $5"}


def test_variables_become_numbers_where_numbers_are_wanted(folder: Folder) -> None:
    """In the sections by their key, in the free-form values as if written without quotes."""
    folder.environ.update(BATCH="8", RATE="1e-2", FLAG="true")
    text = SECTIONS.replace("32", '"${BATCH}"').replace("epochs: 4", "epochs: 4\n  learning_rate: ${RATE}")
    folder.write(
        "a.yaml",
        f"{text}resources: {{exclusive: '${{FLAG}}'}}\nparams: {{rate: '${{RATE}}'}}\nenv: {{B: '${{BATCH}}'}}\n",
    )
    config = folder.load("a.yaml").jobs[0].config
    assert config.data_preprocessing is not None
    assert config.model_training is not None
    assert (config.data_preprocessing.batch_size, config.model_training.learning_rate) == (8, 0.01)
    assert (config.resources.exclusive, config.params, config.env) == (True, {"rate": 0.01}, {"B": "8"})


def test_a_snapshot_holds_no_secret_and_loads_again(folder: Folder) -> None:
    """Variables are kept as variables and looked up anew."""
    folder.environ["TOKEN"] = "s3cret"  # noqa: S105 - the test's own
    folder.write("a.yaml", f"{OWN}env: {{T: '${{TOKEN}}'}}\nparams: {{rate: '1e-3', yes: 'on', n: '010'}}\n")
    (job,) = folder.load("a.yaml").jobs
    text = job.snapshot()
    again = load_snapshot(text, source="a.yaml", cwd=folder.path, environ={"TOKEN": "new"})
    assert "s3cret" not in text
    assert (again.name, again.config.env, again.config.params) == ("a", {"T": "new"}, job.config.params)


def test_a_snapshot_whose_variable_is_gone_is_an_error(folder: Folder) -> None:
    """The line is left out: it would be the snapshot's."""
    with pytest.raises(ConfigError) as caught:
        load_snapshot(f"{OWN}cwd: ${{GONE}}\n", source="a.yaml", cwd=folder.path, environ={})
    assert [(problem.file, problem.line, problem.key) for problem in caught.value.problems] == [("a.yaml", None, "cwd")]


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
def test_no_bytes_do_worse_than_a_config_error(data: bytes) -> None:
    """Whatever a file holds, the user gets one plain error."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "a.yaml").write_bytes(data)
        with pytest.raises(ConfigError) as caught:
            ConfigManager("a.yaml", cwd=Path(name), environ={})
        assert all("\n" not in str(problem) for problem in caught.value.problems)


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
_KEYS = st.sampled_from(
    ["data_preprocessing", "model_training", "result_analysis", "resources", "retry", "name", "env", "command"]
)
_INNER = st.sampled_from(
    ["image_dir", "epochs", "checkpoint", "split_ratios", "learning_rate_scheduler", "type", "gpus", "x"]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_KEYS, _VALUES | st.dictionaries(_INNER, _VALUES, max_size=4), max_size=5))
def test_no_values_do_worse_than_a_config_error(value: dict[str, object]) -> None:
    """Known keys with any values either load or are told plainly."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "a.yaml").write_text(dump(value), encoding="utf-8")
        try:
            ConfigManager("a.yaml", cwd=Path(name), environ={})
        except ConfigError as error:
            assert error.problems  # noqa: PT017 - either is right


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=8).filter(lambda key: key not in SECRET_KEYS), _VALUES, min_size=1, max_size=4))
def test_what_is_written_reads_the_same(value: dict[str, object]) -> None:
    """A snapshot gives back the values it was made of."""
    node, problems = parse(dump({"a": value}), "a.yaml")
    assert problems == []
    assert node is not None
    assert plain(node) == {"a": value}


@pytest.mark.parametrize("path", ["configs", "configs/*.yaml"])
def test_numbers_in_names_are_counted(folder: Folder, path: str) -> None:
    """x2 comes before x10: the place in the run decides the seed, and a person counts."""
    for name in ("x10", "x2", "x1", "x100", "x02", "a"):
        folder.write(f"configs/{name}.yaml")
    assert names(folder.load(path)) == ["a", "x1", "x02", "x2", "x10", "x100"]


@pytest.mark.parametrize(("file", "name"), [("ünï", "n"), ("日本", "job")])
def test_a_job_that_is_called_otherwise_than_its_file_is_told(folder: Folder, file: str, name: str) -> None:
    """In one line; a name of its own says nothing."""
    (job,) = folder.load(folder.write(f"{file}.yaml", OWN)).jobs
    (warning,) = job.warnings
    assert (job.name, f"{file}.yaml: the job is called {name}:" in warning) == (name, True)
    (job,) = folder.load(folder.write(f"{file}.yaml", OWN + "name: mine\n")).jobs
    assert (job.name, job.warnings) == ("mine", ())
