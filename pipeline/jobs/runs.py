"""Requests for training runs. `job` stops and resumes them, as every job."""

from __future__ import annotations

import random
import secrets
from importlib.util import find_spec
from typing import Any

from pipeline.config.recipes import PRESETS, run_config
from pipeline.config.requests import RunRequest
from pipeline.config.schema import TRACKERS, UNKNOWN_TRAIN_TOKENS, RunConfig
from pipeline.core.errors import InputError, require
from pipeline.core.paths import Home, RunFolder, check_id
from pipeline.core.settings import Settings
from pipeline.hub.push_status import request_retry
from pipeline.hub.repo_check import check_model_repo
from pipeline.jobs.job import find_by_request_id, find_job, refuse_second, request_lock, submit
from pipeline.jobs.job_files import read_manifest, readable_request
from pipeline.jobs.run_pushes import latest_pushes, push_fault
from pipeline.jobs.state import job_state

NAMES = (
    "amazon budgie caique cockatiel cockatoo conure corella eclectus galah jardine kakapo kakariki kea lory lorikeet "
    "lovebird macaw parakeet parrotlet pionus quaker rosella senegal".split()
)
MANNERS = "bold brave bright calm clever eager gentle keen lively merry patient proud quick quiet steady swift".split()


def start_training(
    settings: Settings,
    *,
    corpus: str,
    preset: str,
    recipe: str,
    run_id: str | None = None,
    changes: dict[str, Any] | None = None,
    request_id: str | None = None,
    queue: bool = False,
    processes: int = 1,
    hold: bool = False,
) -> str:
    """Request a training run; returns its id. A `request_id` that was used before returns the run it created, and
    creates no other. `processes` of this machine share its batch, on CUDA one for each GPU. With `hold` the worker does
    not start it: a person does, by hand, on several machines.

    `corpus` may still be queued or in preparation: jobs run in the order they were requested. Raises BusyError while
    another run is active, unless `queue` or `hold`; InputError for a bad value, a taken id or a missing corpus; HubError
    when the Hub would refuse the checkpoints.
    """
    changes = changes or {}
    config = check_training(Home(settings.home), corpus, preset, recipe, changes)
    config.training.check_processes(processes)
    check_model_repo(settings)
    with request_lock(settings) as home:
        if previous := find_by_request_id(home.runs(), request_id):
            return previous.id
        folder = home.run(run_id or _new_id(home))
        if folder.request.exists():
            raise InputError(
                f"Run {folder.id} exists already; choose another id, or go on with it by `resume {folder.id}`."
            )
        if not queue and not hold:
            refuse_second(home)
        request = RunRequest(
            request_id=request_id or "",
            held=hold,
            corpus=corpus,
            preset=preset,
            recipe=recipe,
            changes=changes,
            processes=processes,
        )
        submit(folder, request)
    return folder.id


def is_held(settings: Settings, run_id: str) -> bool:
    """Whether a person starts the run by hand, not the worker."""
    return bool(readable_request(find_run(settings, run_id)).get("held"))


def find_run(settings: Settings, run_id: str) -> RunFolder:
    """The run's folder. Raises InputError, naming the existing runs, when nobody requested this one."""
    home = Home(settings.home)
    return find_job(home.run(run_id), "run", home.runs())


def retry_push(settings: Settings, run_id: str) -> None:
    """Have the run's newest checkpoint pushed again now: one that was refused, or one that waits for its next attempt.

    Raises InputError for an unknown run, and when no other attempt can help: the checkpoint has arrived or is on its
    way, is damaged or gone, or belongs to another repo than that of `settings`.
    """
    with request_lock(settings) as home:
        fault = push_fault(home, latest_pushes(find_run(settings, run_id)))
        if fault is None:
            raise InputError(f"Nothing of run {run_id} waits to be pushed again; see its pushes.")
        if not fault.can_retry:
            raise InputError(f"Step {fault.step} of run {run_id} cannot be pushed: {fault.error}")
        if fault.repo != settings.repo:
            raise InputError(
                f"Step {fault.step} of run {run_id} is for {fault.repo}; set PIPELINE_HUB_REPO to it, then try again."
            )
        request_retry(home, fault.repo)


def check_training(home: Home, corpus: str, preset: str, recipe: str, changes: dict[str, Any]) -> RunConfig:
    """Raises InputError now for what the trainer would refuse later. Returns the run's configuration; a corpus that is
    not ready yet is taken to be a large one.
    """
    require(preset in PRESETS, "preset", preset, f"choose one of {', '.join(PRESETS)}")
    folder = home.corpus(corpus)
    manifest = read_manifest(folder)
    if manifest is None:
        if not (folder.request.exists() and job_state(folder).is_active):
            known = ", ".join(f.id for f in home.corpora() if f.is_ready) or "none yet"
            raise InputError(
                f"There is no corpus {corpus!r} (prepared: {known}); choose one of them, or prepare it first."
            )
        # Its size is unknown until it is prepared; a large one lets every other value be checked.
        manifest = {"vocab_size": PRESETS[preset].vocab_size, "tokens_train": UNKNOWN_TRAIN_TOKENS}
    config = run_config(
        corpus=corpus,
        preset=preset,
        recipe=recipe,
        vocab_size=manifest["vocab_size"],
        train_tokens=manifest["tokens_train"],
        validation_tokens=manifest.get("tokens_validation"),
        changes=changes,
    )
    for tracker in config.training.trackers:
        require(find_spec(tracker) is not None, "trackers", tracker, f"install it: `pip install {TRACKERS[tracker]}`")
    return config


def _new_id(home: Home) -> str:
    """A pronounceable name that is not taken yet."""
    taken = {folder.id for folder in home.runs()}
    for _ in range(100):
        name = f"{random.choice(MANNERS)}-{random.choice(NAMES)}"
        if name not in taken:
            return name
    return check_id(f"run-{secrets.token_hex(4)}")
