from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import job_process
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import ResourceError
from pipeline.core.paths import JobFolder


def no_room(path: Path, value: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    (tmp_path / "run").mkdir()
    return JobFolder(tmp_path / "run")


def test_a_job_that_fails_on_a_full_disk_says_so_over_its_old_status(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match="the disk is full"), job_process.Job(folder):
        monkeypatch.setattr(job_process, "write_json", no_room)
        raise ResourceError("the disk is full; free some of it.")
    status = read_json(folder.status) or {}
    assert (status["state"], status["error"]) == ("failed", "the disk is full; free some of it.")


def test_what_a_job_raised_goes_on_where_there_is_no_status_to_write_over(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match="the disk is full"), job_process.Job(folder):
        monkeypatch.setattr(job_process, "write_json", no_room)
        folder.status.unlink()
        raise ResourceError("the disk is full; free some of it.")
    assert not folder.status.exists()


def test_what_killed_writers_left_is_cleared_and_what_is_being_written_is_not(folder: JobFolder) -> None:
    old, new, other = (folder.path / name for name in (".status.json.0a.tmp", ".stop.json.1b.tmp", "notes.tmp"))
    for path in (old, new, other):
        path.write_text("{")
    for path in (old, other):
        os.utime(path, (0, 0))
    with job_process.Job(folder):
        assert (old.exists(), new.exists(), other.exists()) == (False, True, True)


def test_a_stop_interrupts_what_may_be_interrupted_and_nothing_else(folder: JobFolder) -> None:
    with job_process.Job(folder) as running:
        with pytest.raises(job_process.StopRequested), running.interruptible():
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("not reached")
        signal.raise_signal(signal.SIGTERM)  # outside: heard by whoever asks
        assert running.stop_requested
        with pytest.raises(job_process.StopRequested), running.interruptible():
            raise AssertionError("not reached: a stop was requested before")


def test_only_the_first_signal_interrupts(folder: JobFolder) -> None:
    """The second would interrupt what cleans up behind it."""
    is_cleaned_up = False
    with job_process.Job(folder) as running, pytest.raises(job_process.StopRequested), running.interruptible():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            is_cleaned_up = True
    assert is_cleaned_up


def test_a_stop_that_stands_in_the_folder_interrupts_too(folder: JobFolder) -> None:
    write_json(folder.request, {"request_id": "r"})
    with job_process.Job(folder) as running, pytest.raises(job_process.StopRequested), running.interruptible():
        write_json(folder.stop, {"request_id": "another"})
        time.sleep(2 * job_process.STOP_LOOKED_FOR_EVERY_SECONDS)  # control: it is none of this request
        write_json(folder.stop, {"request_id": "r"})
        while True:
            time.sleep(0.01)
