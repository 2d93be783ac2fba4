"""A page's thread that brings back what a wiped disk has lost, and resumes what was interrupted."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.atomic_io import read_json
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.bucket import save_all
from pipeline.jobs import restoring
from pipeline.jobs.restoring import restore_and_resume
from pipeline.jobs.state import job_state
from tests.homes import write_corpus, write_run
from tests.waiting import eventually


@pytest.mark.usefixtures("no_worker")
def test_an_archive_that_is_mounted_late_is_restored_and_its_interrupted_run_resumed(
    settings: Settings, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "TRY_AGAIN_SECONDS", 0.05)
    archive, away = tmp_path / "data", tmp_path / "away"
    away.mkdir()
    write_corpus(home, "ready")
    run = write_run(home, "calm-kea", state="running")  # no process holds its lock: it was interrupted
    save_all(home, away)
    shutil.rmtree(home.path)
    archive.mkdir()
    there = replace(settings, archive=archive, auto_resume=True, hub_repo=None)
    thread = threading.Thread(target=restore_and_resume, args=(there,), daemon=True)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive() and not run.path.exists()
    archive.rmdir()
    away.rename(archive)
    eventually(lambda: (read_json(run.request) or {}).get("resume"), "the run is resumed")
    thread.join(30)
    assert not thread.is_alive() and job_state(run).state == "queued"


@pytest.mark.usefixtures("no_worker")
def test_a_gallery_that_is_not_restored_keeps_no_run_from_being_resumed(
    settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def damaged(settings: Settings) -> list[str]:
        raise DamagedError("moderation.json is not JSON")

    monkeypatch.setattr(restoring.gallery_dataset, "restore_dataset", damaged)
    write_corpus(home, "ready")
    run = write_run(home, "calm-kea", state="running")
    restore_and_resume(replace(settings, auto_resume=True, hub_repo=None, gallery_repo="me/gallery"))
    assert job_state(run).state == "queued"
    assert "The gallery in me/gallery is not restored: moderation.json is not JSON" in capsys.readouterr().err
