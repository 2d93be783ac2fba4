"""Submits, finds, stops and resumes a job of any kind. `runs`, `corpora`, `dry_runs` and `evaluations` have the requests of each kind.

Requests are written under one lock, which orders concurrent ones; then the worker is woken.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pipeline.config.requests import JobRequest
from pipeline.core.atomic_io import locked, write_json
from pipeline.core.errors import BusyError, DamagedError, InputError
from pipeline.core.paths import CorpusFolder, Home, JobFolder
from pipeline.core.settings import Settings
from pipeline.jobs import worker
from pipeline.jobs.job_files import read_status, readable_request
from pipeline.jobs.state import RESUMABLE, in_order, job_state

Folder = TypeVar("Folder", bound=JobFolder)


@contextmanager
def request_lock(settings: Settings) -> Iterator[Home]:
    """Hold the request lock inside the block; wake the worker after it."""
    home = Home(settings.home)
    with locked(home.requests_lock):
        yield home
    worker.wake(settings)


def submit(folder: JobFolder, request: JobRequest) -> None:
    """Write the request of the job in `folder`; call it inside `request_lock`. A request without an id gets one."""
    head = {"request_id": request.request_id or secrets.token_hex(8), "requested_at": time.time()}
    _write_request(folder, {**dataclasses.asdict(request), **head, "kind": folder.kind})


def _write_request(folder: JobFolder, request: dict[str, Any]) -> None:
    """Write it, and remove a damaged status of an earlier attempt, which cannot tell which attempt it is of."""
    write_json(folder.request, request)
    try:
        read_status(folder)
    except DamagedError:
        folder.status.unlink(missing_ok=True)


def stop_job(settings: Settings, folder: JobFolder) -> None:
    """Request a job to save and stop. Raises InputError when it is not active."""
    with request_lock(settings):
        state = job_state(folder)
        if state.state == "stopping":
            return
        if not state.is_active:
            raise InputError(f"{folder.id} is {state.state}; there is nothing to stop.")
        write_json(folder.stop, {"request_id": state.request_id, "requested_at": time.time()})


def resume_job(settings: Settings, folder: JobFolder, *, request_id: str | None = None, queue: bool = False) -> str:
    """Request a stopped, failed or interrupted job to continue from what it has saved; returns its id. A `held` job is
    again left for a person to start. Raises InputError in any other state; BusyError while a run trains, unless `queue`
    or `held`.
    """
    with request_lock(settings) as home:
        state = job_state(folder)
        if not state.request:
            raise DamagedError(state.error or f"{folder.id} has no request; start a new job.")
        if request_id and state.request_id == request_id:
            return folder.id
        if state.state not in RESUMABLE:
            raise InputError(
                f"{folder.id} is {state.state}; only a job that stopped, failed or was interrupted can be resumed."
            )
        if not queue and not state.request.get("held"):
            refuse_second(home)
        changes = {
            "request_id": request_id or secrets.token_hex(8),
            "requested_at": time.time(),
            "resume": True,
            "earlier_ids": [*(state.request.get("earlier_ids") or ()), state.request_id],
        }
        _write_request(folder, {**state.request, **changes})
    return folder.id


def refuse_second(home: Home) -> None:
    """Raises BusyError while a run trains or is queued."""
    for state in in_order(home):
        if state.kind == "train":
            doing = "waits in the queue" if state.state == "queued" else "is still training"
            raise BusyError(
                f"Run {state.id} {doing}; stop it with `python -m pipeline stop {state.id}`, or add --queue."
            )


def find_by_request_id(folders: Sequence[JobFolder], request_id: str | None) -> JobFolder | None:
    """The job that an earlier request with this id created, also if another request has resumed it since."""
    if not request_id:
        return None
    for folder in folders:
        request = readable_request(folder)
        if request_id in (request.get("request_id"), *(request.get("earlier_ids") or ())):
            return folder
    return None


def find_job(folder: Folder, what: str, known: Sequence[JobFolder]) -> Folder:
    """`folder`. Raises InputError, naming the `known` jobs, when nobody requested it."""
    if _is_there(folder):
        return folder
    names = ", ".join(other.id for other in known if _is_there(other)) or "none yet"
    if folder.path.exists():  # a job whose home was moved away may go on writing to the old path
        raise InputError(
            f"{folder.path} has no {folder.request.name}, so it is no {what}; bring the rest of it back from where it was "
            f"moved, or delete that folder. There is {names}."
        )
    raise InputError(f"There is no {what} {folder.id!r}; there is {names}.")


def _is_there(folder: JobFolder) -> bool:
    """Whether somebody requested the job, or it is a corpus that was copied here."""
    return folder.request.exists() or (isinstance(folder, CorpusFolder) and folder.is_ready)
