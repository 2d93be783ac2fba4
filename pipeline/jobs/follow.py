"""Waits for a job that runs in other processes, so that a command stays in the foreground.

Ending the waiting process does not affect the job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.artifacts.checkpoint import complete_checkpoints, step_of
from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import is_locked
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.hub import push_log
from pipeline.jobs import worker
from pipeline.jobs.run_pushes import latest_pushes
from pipeline.jobs.state import ACTIVE
from pipeline.jobs.view_types import JobView, RunView
from pipeline.jobs.views import run_view

View = TypeVar("View", bound=JobView)
POLL_SECONDS = 0.3
WAKE_SECONDS = 10.0
REGISTRY_SECONDS = 180.0
PUSH_SECONDS = 3_600.0


def follow(settings: Settings, poll: Callable[[], View], show: Callable[[View], None] = lambda view: None) -> View:
    """Wait until the job is no longer active; returns its last view. `poll` reads a view, and `show` gets each view."""
    woken_at = time.monotonic()
    while (view := poll()).state in ACTIVE:
        show(view)
        time.sleep(POLL_SECONDS)
        if time.monotonic() - woken_at > WAKE_SECONDS:
            woken_at = time.monotonic()
            _wake_if_gone(settings)
    show(view)
    return view


def follow_run(settings: Settings, run_id: str, show: Callable[[RunView], None] = lambda view: None) -> RunView:
    """Wait until the run has ended and its last checkpoint is in the registry and, with a Hub repo, is on the Hub,
    refused by it, or delayed by a fault: then the view has a `push_fault`.

    Raises PipelineError when the checkpoint is not registered within REGISTRY_SECONDS.
    """
    home = Home(settings.home)
    follow(settings, lambda: run_view(home, run_id), show)
    _until_registered(settings, home.run(run_id))
    return follow_push(settings, run_id)


def follow_push(settings: Settings, run_id: str) -> RunView:
    """Wait while the newest checkpoint is on its way to the Hub."""
    home = Home(settings.home)
    folder = home.run(run_id)
    started_at = time.monotonic()
    while settings.hub_repo is not None and run_view(home, run_id).push_fault is None:
        newest = next(iter(latest_pushes(folder)), None)
        if newest is None or newest["state"] not in push_log.WAITING or time.monotonic() - started_at > PUSH_SECONDS:
            break
        _wake_if_gone(settings)
        time.sleep(POLL_SECONDS)
    return run_view(home, run_id)


def _until_registered(settings: Settings, folder: RunFolder) -> None:
    """Wait until the newest complete checkpoint is registered; the publisher, another process, does that."""
    checkpoints = complete_checkpoints(folder)
    if not checkpoints:
        return
    step = step_of(checkpoints[-1])
    registry = Registry(Home(settings.home), settings.repo)
    started_at = woken_at = time.monotonic()
    while not _is_registered(registry, folder, step):
        now = time.monotonic()
        if now - started_at > REGISTRY_SECONDS:
            raise PipelineError(
                f"The checkpoint of step {step} of run {folder.id} is not in the registry yet; see publisher.log, then run `publish`."
            )
        if now - woken_at > WAKE_SECONDS:
            woken_at = now
            _wake_if_gone(settings)
        time.sleep(POLL_SECONDS)


def _is_registered(registry: Registry, folder: RunFolder, step: int) -> bool:
    if any(revision.run == folder.id and revision.step == step for revision in registry.revisions()):
        return True
    return any(row["step"] == step and row["state"] == "refused" for row in latest_pushes(folder))


def _wake_if_gone(settings: Settings) -> None:
    """Restart the worker if it has ended."""
    if not is_locked(Home(settings.home).worker_lock):
        worker.wake(settings)
