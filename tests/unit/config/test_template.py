"""The configuration that `init` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_ml.adapters.cli.main import main
from parallel_ml.config.manager import ConfigManager
from parallel_ml.config.notifications import load_notifications
from parallel_ml.config.template import template, write_templates
from parallel_ml.errors import StoreError

REPOSITORY = Path(__file__).parents[3]


def test_it_is_the_one_of_the_repository() -> None:
    """`config/config.yaml` is a copy of what the package carries."""
    assert template() == (REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8")


def test_it_is_a_good_configuration(tmp_path: Path) -> None:
    """Nothing in it is wrong, but that the images are not there."""
    (path, written), (notifier, _) = write_templates(tmp_path)
    assert written
    assert load_notifications(notifier, cwd=tmp_path, environ={}).channels == ()
    assert notifier.stat().st_mode & 0o077 == 0
    [job] = ConfigManager([str(path)], cwd=tmp_path).jobs
    assert job.config.model_training is not None


def test_init_writes_it_and_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into a folder that it makes; what comes next is a command line that works."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "new project"]) == 0
    assert (tmp_path / "new project" / "config" / "config.yaml").read_text(encoding="utf-8") == template()
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "new project/config/config.yaml: written"
    assert shown[1] == "new project/notifier_config.yaml: written"
    assert shown[-2] == "  cd 'new project' && python -m parallel_ml run"
    assert shown[-1].endswith("cd 'new project' && python -m parallel_ml notify test")


def test_init_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second call leaves what the user has written, says so, and is no error."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config" / "config.yaml"
    path.parent.mkdir()
    path.write_text("mine")
    assert main(["init"]) == 0
    assert path.read_text() == "mine"
    assert capsys.readouterr().out.startswith("config/config.yaml: is there already and was left as it is")
    assert main(["init", "--json"]) == 0
    assert capsys.readouterr().out == '{"written": [], "kept": ["config/config.yaml", "notifier_config.yaml"]}\n'


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    """`config` is to be a folder."""
    (tmp_path / "config").touch()
    with pytest.raises(StoreError, match="there is a file of that name"):
        write_templates(tmp_path)
