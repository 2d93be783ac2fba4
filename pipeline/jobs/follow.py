"""Waits for a job that other processes do: what makes a command stay in the foreground.

Ending whoever waits changes nothing for the job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import is_locked
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.jobs import worker
from pipeline.jobs.state import ACTIVE
from pipeline.jobs.views import CorpusView, RunView, corpus_view, latest_pushes, run_view

View = TypeVar("View", RunView, CorpusView)
POLL_SECONDS = 0.3
WAKE_SECONDS = 10.0
REGISTRY_SECONDS = 180.0


def follow_run(settings: Settings, run_id: str, show: Callable[[RunView], None] = lambda view: None) -> RunView:
    """Wait until the run has ended and its last checkpoint is in the registry; `show` gets every look.

    Raises PipelineError when the checkpoint does not get there in three minutes.
    """
    home = Home(settings.home)
    view = _until_ended(settings, lambda: run_view(home, run_id), show)
    _until_registered(settings, home.run(run_id))
    return view


def wait_until_ended(settings: Settings, run_id: str) -> RunView:
    """Wait until the run is no longer active, whatever became of it."""
    home = Home(settings.home)
    return _until_ended(settings, lambda: run_view(home, run_id), lambda view: None)


def follow_corpus(
    settings: Settings, corpus_id: str, show: Callable[[CorpusView], None] = lambda view: None
) -> CorpusView:
    """Wait until the preparation has ended; `show` gets every look."""
    home = Home(settings.home)
    return _until_ended(settings, lambda: corpus_view(home, corpus_id), show)


def newest_step(folder: RunFolder) -> int | None:
    """Step of the newest complete checkpoint."""
    manifests = folder.checkpoints.glob("step-*/manifest.json")
    return max((int(manifest.parent.name.removeprefix("step-")) for manifest in manifests), default=None)


def _until_ended(settings: Settings, look: Callable[[], View], show: Callable[[View], None]) -> View:
    woken = time.monotonic()
    while (view := look()).state in ACTIVE:
        show(view)
        time.sleep(POLL_SECONDS)
        if time.monotonic() - woken > WAKE_SECONDS:
            woken = time.monotonic()
            _wake_if_gone(settings)
    show(view)
    return view


def _until_registered(settings: Settings, folder: RunFolder) -> None:
    """Every complete checkpoint is published by another process; wait for the newest."""
    step = newest_step(folder)
    if step is None:
        return
    registry = Registry(Home(settings.home), settings.repo)
    started = woken = time.monotonic()
    while not _is_registered(registry, folder, step):
        now = time.monotonic()
        if now - started > REGISTRY_SECONDS:
            raise PipelineError(
                f"The checkpoint of step {step} of run {folder.id} is not in the registry yet; see publisher.log, then run `publish`."
            )
        if now - woken > WAKE_SECONDS:
            woken = now
            _wake_if_gone(settings)
        time.sleep(POLL_SECONDS)


def _is_registered(registry: Registry, folder: RunFolder, step: int) -> bool:
    if any(revision.run == folder.id and revision.step == step for revision in registry.revisions()):
        return True
    return any(row["step"] == step and row["state"] == "refused" for row in latest_pushes(folder))


def _wake_if_gone(settings: Settings) -> None:
    """Start the worker again if somebody ended it."""
    if not is_locked(Home(settings.home).worker_lock):
        worker.wake(settings)
