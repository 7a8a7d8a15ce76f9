"""What a job may put in place of the files that others read: a FIFO, a link, a line nested without end."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_ml.config.kept import read_config
from parallel_ml.core.model import Allocation, Attempt
from parallel_ml.errors import StoreError
from parallel_ml.monitor.follow import FileFollower, Growth, LogFollower, last_log_lines
from parallel_ml.monitor.limits import near_limit
from parallel_ml.store.files import is_locked, last_lines, open_stream, read_json, read_whole
from parallel_ml.store.job_status import last_metrics, read_metrics, read_summary
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import AttemptLayout

pytestmark = pytest.mark.timeout(20)
_MANY = 4 << 20
_DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"


@pytest.fixture(params=["fifo", "device"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return something that is no plain file, of which a reader would wait for ever or read without end."""
    path = tmp_path / "odd"
    if request.param == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (read_json, None),
        (lambda path: last_lines(path, 1), []),
        (last_metrics, {}),
        (read_summary, {}),
        (read_metrics, []),
        (is_locked, False),
        (read_records, ([], 0)),
        (lambda path: FileFollower(path).poll(), Growth()),
        (lambda path: FileFollower(path, offset=1).passed(), ()),
        (lambda path: LogFollower(path, path).poll(), ()),
        (lambda path: last_log_lines(path, path, 100), []),
    ],
)
def test_what_is_no_plain_file_counts_as_none(odd: Path, read: Callable[[Path], object], found: object) -> None:
    """Nobody waits for it."""
    assert read(odd) == found


def test_a_socket_counts_as_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot even be opened."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s")
        with pytest.raises(FileNotFoundError):
            read_whole(tmp_path / "s")


def test_a_folder_is_no_missing_file(tmp_path: Path) -> None:
    """Who asked for the file is told."""
    with pytest.raises(StoreError, match="reading"):
        last_lines(tmp_path, 1)


def test_no_handle_is_left_open(odd: Path) -> None:
    """A reader may come by every second."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            open_stream(odd)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (last_metrics, {}),
        (read_summary, {}),
        (read_metrics, []),
        (lambda path: FileFollower(path).poll(), Growth()),
        (lambda path: LogFollower(path, path).poll(), ()),
    ],
)
def test_a_link_in_a_jobs_folder_is_not_followed(tmp_path: Path, read: Callable[[Path], object], found: object) -> None:
    """It could lead to a file of somebody who trusts the server more than the job."""
    (tmp_path / "private").write_text('{"epoch": 1}\n', encoding="utf-8")
    (tmp_path / "metrics.jsonl").symlink_to("private")
    assert read(tmp_path / "metrics.jsonl") == found
    assert read(tmp_path / "private") != found


def test_a_line_nested_without_end_is_left_out(tmp_path: Path) -> None:
    """The others of the file are told."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(_DEEP + b'{"epoch": 2}\n')
    assert read_metrics(path) == [{"epoch": 2}]


def test_a_sample_nested_without_end_is_no_evidence(tmp_path: Path) -> None:
    """An attempt's crash is judged without it."""
    files = AttemptLayout(tmp_path)
    files.samples.write_bytes(_DEEP)
    assert not near_limit(files, Attempt(1, Allocation(0, (), memory_bytes=1), None, 1, 0.0))


def _bomb(levels: int, value: str) -> str:
    lines = [f"a0: &a0 [{', '.join([value] * 10)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        _bomb(8, "x"),
        _bomb(3, "'" + "x" * (_MANY // 500) + "'"),
        f"text: {'x' * (_MANY + 1)}\n",
        "[" * 100_000,
        "- " * 100_000 + "x\n",
        "a: [" + "1," * 20_000,
    ],
    ids=["values", "characters", "bytes", "levels", "dashes", "broken"],
)
def test_a_configuration_that_grows_without_end_is_none(tmp_path: Path, text: str) -> None:
    """A few lines of YAML can stand for gigabytes: a job may have replaced its own."""
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    assert read_config(tmp_path) == {}


def test_a_configuration_as_large_as_may_be_is_read(tmp_path: Path) -> None:
    """Anchors are no crime in themselves."""
    (tmp_path / "config.yaml").write_text(json.dumps({"text": "x" * 1000}) + "\n", encoding="utf-8")
    assert read_config(tmp_path) == {"text": "x" * 1000}
    (tmp_path / "config.yaml").write_text(_bomb(2, "x"), encoding="utf-8")
    assert len(read_config(tmp_path)["a1"]) == 10


def test_a_configuration_that_is_a_fifo_is_none(tmp_path: Path) -> None:
    """What differs is told of the other jobs."""
    os.mkfifo(tmp_path / "config.yaml")
    assert read_config(tmp_path) == {}
