"""Nothing outside the root is started or read, wherever links lead, and of a run only what its jobs have left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.web.serving import RUN, Script, Served, serving, settings_in

CONFIG = "command: [sleep, '0']\n"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder outside of the root, with a configuration and data."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "evil.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "evil.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, outside: Path) -> Iterator[Served]:
    """Return one server for all tests here, over a root with links that lead out, and with one run."""
    root = tmp_path_factory.mktemp("root")
    (root / "configs").mkdir()
    (root / "configs/link.yaml").symlink_to(outside / "evil.yaml")
    (root / "folder").symlink_to(outside)
    (root / "table.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (root / ".env").write_text("SECRET=hunter2\n", encoding="utf-8")
    script = Script(root / "runs", "one")
    states = script.layout.job("one").checkpoints
    (states / "link.keras").symlink_to(outside / "evil.yaml")
    (states / "folder").symlink_to(outside)
    os.mkfifo(states / "pipe")
    yield from serving(settings_in(root))
    script.close()


@pytest.mark.parametrize(
    "named",
    [
        "../evil.yaml",
        "{outside}/evil.yaml",
        "configs/link.yaml",
        "configs",
        "configs/*.yaml",
        "folder/evil.yaml",
        "folder",
        "fold*/evil.yaml",
        "folder/*",
        "configs/../../evil.yaml",
        "~/evil.yaml",
        "~root/evil.yaml",
        "configs/\0evil.yaml",
    ],
)
def test_no_configuration_outside_the_root_is_started(served: Served, outside: Path, named: str) -> None:
    """By a path, by a link, by a folder or a glob with a link in it."""
    answer = served.client.post("/api/v1/runs", json={"configs": [named.format(outside=outside)]})
    assert answer.status_code in {404, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert [path.name for path in served.settings.root.glob("runs/*")] == [RUN]


@pytest.mark.parametrize("named", ["../evil.csv", "{outside}/evil.csv", "folder/evil.csv", "configs/link.yaml"])
def test_no_data_outside_the_root_are_trained_on(served: Served, outside: Path, named: str) -> None:
    """The paths of a request are those of configurations."""
    asked = {"epochs": 1, "train_data_path": named.format(outside=outside), "target_column": "b"}
    assert served.client.post("/api/v1/algorithm/epoch-train", json=asked).status_code == 422


@pytest.mark.parametrize("named", ["../models", "{outside}", "folder", "folder/deeper/model.keras"])
def test_no_model_is_written_outside_the_root(served: Served, outside: Path, named: str) -> None:
    """Where it goes is a path of the request, too."""
    asked = {
        "epochs": 1,
        "train_data_path": "table.csv",
        "target_column": "b",
        "output_path": named.format(outside=outside),
    }
    answer = served.client.post("/api/v1/algorithm/epoch-train", json=asked)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:parallel-ml:problem:outside")


def test_a_configuration_that_everybody_may_write_is_not_started(served: Served) -> None:
    """It names a program; whoever wrote it would be let in by the token of somebody else."""
    path = served.settings.root / "open.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    path.chmod(0o666)
    assert served.client.post("/api/v1/runs", json={"configs": ["open.yaml"]}).status_code == 403


@pytest.mark.parametrize("extends", ["base.yaml", "[middle.yaml]"])
def test_what_a_configuration_extends_must_be_the_users_own_too(served: Served, extends: str) -> None:
    """The program may stand in a file of which another is only laid on top."""
    root = served.settings.root
    (root / "top.yaml").write_text(f"extends: {extends}\n", encoding="utf-8")
    (root / "middle.yaml").write_text("extends: base.yaml\n", encoding="utf-8")
    (root / "base.yaml").write_text(CONFIG, encoding="utf-8")
    (root / "base.yaml").chmod(0o666)
    answer = served.client.post("/api/v1/runs", json={"configs": ["top.yaml"]})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:parallel-ml:problem:not-yours")
    assert "base.yaml" in answer.json()["detail"]


@pytest.mark.parametrize(
    "named", ["folder", "fold*", "folder/*.yaml", "fold*/*.yaml", "fold*/no.yaml", "folder/no.yaml"]
)
def test_what_is_there_outside_the_root_is_not_told(served: Served, named: str) -> None:
    """The answer is the same for what is there and for what is not."""
    answer = served.client.post("/api/v1/runs", json={"configs": [named]})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:parallel-ml:problem:outside")


@pytest.mark.parametrize(
    "body", [{"configs": [{"command": ["sh"]}]}, {"configs": ["a.yaml"], "command": ["sh"]}, {"configs": []}]
)
def test_no_program_is_named_by_a_request(served: Served, body: dict[str, object]) -> None:
    """Only files are."""
    assert served.client.post("/api/v1/runs", json=body).status_code == 422


@pytest.mark.parametrize("model", ["os:system", "__main__:x", "a.b:c"])
def test_no_code_is_named_by_a_training(served: Served, model: str) -> None:
    """`module:function` is a program."""
    asked = {"epochs": 1, "train_data_path": "t.csv", "algorithm_params": {"model_type": model}}
    assert served.client.post("/api/v1/algorithm/epoch-train", json=asked).status_code == 422


def test_a_request_does_not_read_the_environment(served: Served) -> None:
    """`${HOME}` of a request is the text."""
    asked = {"epochs": 1, "train_data_path": "table.csv", "target_column": "${HOME}"}
    answer = served.client.post("/api/v1/algorithm/epoch-train", json=asked)
    assert answer.status_code == 422
    assert "${HOME}" in answer.json()["errors"][0]["message"]


def test_what_is_no_table_is_not_quoted(served: Served) -> None:
    """The message of a missing column would tell the first line of any file."""
    asked = {"epochs": 1, "train_data_path": ".env", "target_column": "b"}
    answer = served.client.post("/api/v1/algorithm/epoch-train", json=asked)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "config.yaml",
        "attempt-01/resolved.yaml",
        "../../run.json",
        "checkpoints/../config.yaml",
        "checkpoints/%2e%2e/config.yaml",
        "checkpoints/..%2fconfig.yaml",
        "checkpoints/link.keras",
        "checkpoints/folder/evil.yaml",
        "checkpoints",
        "checkpoints/",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "checkpoints/pipe",
    ],
)
def test_no_other_file_is_an_artifact(served: Served, path: str) -> None:
    """Neither configurations, which may hold secrets, nor what a link leads to, nor what is no plain file."""
    assert served.client.get(f"/api/v1/runs/{RUN}/jobs/one/artifacts/{path}").status_code == 404


@pytest.mark.parametrize("run", ["..", "%2e%2e", "..%2f..", "2026", "20260101-120000-3fa", "a%00b", "night~one"])
def test_a_run_is_named_by_its_whole_id(served: Served, run: str) -> None:
    """Neither by a path nor by the beginning of an id."""
    assert served.client.get(f"/api/v1/runs/{run}").status_code in {404, 422}
