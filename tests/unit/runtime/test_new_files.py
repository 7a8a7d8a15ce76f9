"""A file that comes into a folder wakes who waits for it."""

from __future__ import annotations

import os
import select
from pathlib import Path

from parallel_ml.runtime.new_files import new_files
from parallel_ml.store.files import write_json


def test_a_file_that_is_put_into_the_folder_is_heard_of(tmp_path: Path) -> None:
    """Once for each, when it is whole."""
    handle = new_files(tmp_path)
    assert handle is not None
    assert select.select([handle], [], [], 0)[0] == []
    write_json(tmp_path / "order.json", {})
    assert select.select([handle], [], [], 5)[0] == [handle]
    os.read(handle, 4096)
    assert select.select([handle], [], [], 0)[0] == []
    os.close(handle)


def test_a_folder_that_is_not_there_is_not_watched(tmp_path: Path) -> None:
    """Then it is looked into now and then, as ever."""
    assert new_files(tmp_path / "gone") is None
