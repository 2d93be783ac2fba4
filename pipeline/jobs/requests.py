"""What every request has in common: written, stopped and resumed under one lock, so that of two that come at once one is
first; then the worker is woken. What may be asked for is in `run_requests` and `corpus_requests`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any, TypeVar

from pipeline.core.atomic_io import locked, readable_json, write_json
from pipeline.core.errors import BusyError, InputError
from pipeline.core.paths import CorpusFolder, Home, JobFolder
from pipeline.core.settings import Settings
from pipeline.jobs import worker
from pipeline.jobs.state import RESUMABLE, in_order, job_state

Folder = TypeVar("Folder", bound=JobFolder)


def write_request(folder: JobFolder, request_id: str | None, **facts: Any) -> None:
    """Ask for the job of `folder`; whoever calls it holds the lock of requests. A `request_id` is made up unless given."""
    head = {"request_id": request_id or secrets.token_hex(8), "kind": folder.kind, "requested_at": time.time()}
    write_json(folder.request, {**head, **facts})


def stop_job(settings: Settings, folder: JobFolder) -> None:
    """Ask a job to stop. Raises InputError when it is over."""
    with locked(Home(settings.home).requests_lock):
        state = job_state(folder)
        if state.state == "stopping":
            return
        if not state.is_active:
            raise InputError(f"{folder.id} is {state.state}; there is nothing to stop.")
        write_json(folder.stop, {"request_id": state.request_id, "requested_at": time.time()})
    worker.wake(settings)


def resume_job(settings: Settings, folder: JobFolder, request_id: str | None, *, queue: bool) -> str:
    """Ask a job that is over and not finished to go on; returns its id. One that is started by hand is so again. Raises InputError for any other; BusyError while
    a run trains, unless `queue`.
    """
    home = Home(settings.home)
    with locked(home.requests_lock):
        state = job_state(folder)
        if request_id and state.request_id == request_id:
            return folder.id
        if state.state not in RESUMABLE:
            raise InputError(
                f"{folder.id} is {state.state}; only a job that stopped, failed or was interrupted can be resumed."
            )
        if not queue and not state.request.get("held"):
            refuse_second(home)
        asked = {key: state.request[key] for key in state.request if key not in ("request_id", "requested_at", "kind")}
        earlier_ids = [*asked.get("earlier_ids", ()), state.request_id]
        write_request(folder, request_id, **{**asked, "resume": True, "earlier_ids": earlier_ids})
    worker.wake(settings)
    return folder.id


def refuse_second(home: Home) -> None:
    """Raises BusyError while a run trains or waits."""
    for state in in_order(home):
        if state.kind == "train":
            doing = "waits in the queue" if state.state == "queued" else "is still training"
            raise BusyError(
                f"Run {state.id} {doing}; stop it with `python -m pipeline stop {state.id}`, or add --queue."
            )


def made_before(folders: Sequence[JobFolder], request_id: str | None) -> JobFolder | None:
    """The job that `request_id` made before, also if it was resumed by another request since."""
    if not request_id:
        return None
    for folder in folders:
        request = readable_json(folder.request)
        if request_id in (request.get("request_id"), *request.get("earlier_ids", ())):
            return folder
    return None


def find_job(folder: Folder, what: str, known: list[str]) -> Folder:
    """`folder`. Raises InputError, naming those that are `known`, when nobody asked for it."""
    if not folder.request.exists() and not (isinstance(folder, CorpusFolder) and folder.is_ready):
        raise InputError(f"There is no {what} {folder.id!r}; there is {', '.join(known) or 'none yet'}.")
    return folder
