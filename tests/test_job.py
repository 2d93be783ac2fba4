from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline import job
from pipeline.errors import ResourceError
from pipeline.files import read_json
from pipeline.folders import JobFolder


def no_room(path: Path, value: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    (tmp_path / "run").mkdir()
    return JobFolder(tmp_path / "run")


def test_a_job_that_fails_on_a_full_disk_says_so_over_its_old_status(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match="the disk is full"), job.Job(folder):
        monkeypatch.setattr(job, "write_json", no_room)
        raise ResourceError("the disk is full; free some of it.")
    status = read_json(folder.status) or {}
    assert (status["state"], status["error"]) == ("failed", "the disk is full; free some of it.")


def test_what_a_job_raised_goes_on_where_there_is_no_status_to_write_over(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match="the disk is full"), job.Job(folder):
        monkeypatch.setattr(job, "write_json", no_room)
        folder.status.unlink()
        raise ResourceError("the disk is full; free some of it.")
    assert not folder.status.exists()


def test_what_killed_writers_left_is_cleared_and_what_is_being_written_is_not(folder: JobFolder) -> None:
    old, new, other = (folder.path / name for name in (".status.json.0a.tmp", ".stop.json.1b.tmp", "notes.tmp"))
    for path in (old, new, other):
        path.write_text("{")
    for path in (old, other):
        os.utime(path, (0, 0))
    with job.Job(folder):
        assert (old.exists(), new.exists(), other.exists()) == (False, True, True)
