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


def disk_full(path: Path, value: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    (tmp_path / "run").mkdir()
    return JobFolder(tmp_path / "run")


def test_a_failure_on_a_full_disk_overwrites_the_old_status(folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourceError, match="the disk is full"), job_process.JobProcess(folder):
        monkeypatch.setattr(job_process, "write_json", disk_full)
        raise ResourceError("the disk is full; free some of it.")
    status = read_json(folder.status) or {}
    assert (status["state"], status["error"]) == ("failed", "the disk is full; free some of it.")


def test_the_error_propagates_when_there_is_no_status_to_overwrite(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match="the disk is full"), job_process.JobProcess(folder):
        monkeypatch.setattr(job_process, "write_json", disk_full)
        folder.status.unlink()
        raise ResourceError("the disk is full; free some of it.")
    assert not folder.status.exists()


def test_leftovers_of_killed_writers_are_deleted_and_files_being_written_are_not(folder: JobFolder) -> None:
    old, new, other = (folder.path / name for name in (".status.json.0a.tmp", ".stop.json.1b.tmp", "notes.tmp"))
    for path in (old, new, other):
        path.write_text("{")
    for path in (old, other):
        os.utime(path, (0, 0))
    with job_process.JobProcess(folder):
        assert (old.exists(), new.exists(), other.exists()) == (False, True, True)


def test_a_stop_interrupts_only_inside_interruptible(folder: JobFolder) -> None:
    with job_process.JobProcess(folder) as running:
        with pytest.raises(job_process.StopRequested), running.interruptible():
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("not reached")
        signal.raise_signal(signal.SIGTERM)  # outside: only `stop_requested` reports it
        assert running.stop_requested
        with pytest.raises(job_process.StopRequested), running.interruptible():
            raise AssertionError("not reached: a stop was requested before")


def test_only_the_first_signal_interrupts(folder: JobFolder) -> None:
    """A second one would interrupt the cleanup."""
    is_cleaned_up = False
    with job_process.JobProcess(folder) as running, pytest.raises(job_process.StopRequested), running.interruptible():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            is_cleaned_up = True
    assert is_cleaned_up


def test_a_stop_file_in_the_folder_interrupts_too(folder: JobFolder) -> None:
    write_json(folder.request, {"request_id": "r"})
    with job_process.JobProcess(folder) as running, pytest.raises(job_process.StopRequested), running.interruptible():
        write_json(folder.stop, {"request_id": "another"})
        time.sleep(2 * job_process.STOP_LOOKED_FOR_EVERY_SECONDS)  # control: a stop of another request
        write_json(folder.stop, {"request_id": "r"})
        while True:
            time.sleep(0.01)
