"""`follow` waits until a job has ended, shows every view, and restarts the worker if it has ended."""

from __future__ import annotations

import pytest

from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import locked
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs import follow as module
from pipeline.jobs import worker
from pipeline.jobs.follow import follow, follow_run
from pipeline.jobs.job import stop_job
from pipeline.jobs.view_types import JobView
from tests.checkpoints import write_checkpoint
from tests.jobs.conftest import start


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    found: list[Settings] = []
    monkeypatch.setattr(worker, "wake", found.append)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    return found


def test_every_view_is_shown_until_the_job_has_ended(settings: Settings, woken: list[Settings]) -> None:
    states = iter(["queued", "starting", "running", "stopping", "stopped", "running"])
    shown: list[str] = []
    view = follow(settings, lambda: JobView(state=next(states)), lambda view: shown.append(view.state))
    assert view.state == "stopped"
    assert shown == ["queued", "starting", "running", "stopping", "stopped"]


def test_a_worker_that_somebody_ended_is_started_again(
    settings: Settings, home: Home, woken: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAKE_SECONDS", 0.0)
    with locked(home.worker_lock):
        states = iter(["queued", "queued", "finished"])
        follow(settings, lambda: JobView(state=next(states)))
        assert woken == [], "control: a worker is running"
    states = iter(["queued", "queued", "finished"])
    follow(settings, lambda: JobView(state=next(states)))
    assert woken == [settings, settings]


def test_a_run_is_followed_until_its_last_checkpoint_is_registered(
    settings: Settings, home: Home, woken: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home.run(start(settings, run_id="a"))
    stop_job(settings, folder)
    assert follow_run(settings, "a").state == "stopped", "without a checkpoint there is nothing to wait for"
    checkpoint = write_checkpoint(folder, 100)
    monkeypatch.setattr(module, "REGISTRY_SECONDS", 0.0)
    with pytest.raises(PipelineError, match="The checkpoint of step 100 of run a is not in the registry yet"):
        follow_run(settings, "a")
    Registry(home, settings.repo).add(checkpoint)
    assert follow_run(settings, "a").state == "stopped"
