"""The state of a job, derived from its files and its lock; nothing here is stored.

status.json records running, stopped, finished and failed. The other states are derived. *queued*: requested, not
started. *starting*: its process is alive but has not written a status yet. *stopping*: it runs, and a stop was
requested. *interrupted*: its status is running, but no process holds its lock; or its process ended before it wrote a
status, and no worker has recorded how.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.atomic_io import is_locked
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import Home, JobFolder, RunFolder
from pipeline.core.processes import ProcessId
from pipeline.core.settings import STATE
from pipeline.hub.restore import Archived
from pipeline.jobs.job_files import read_request, read_status, readable_process, readable_stop

RUNNING = ("starting", "running", "stopping")
ACTIVE = ("queued", *RUNNING)
RESUMABLE = ("stopped", "failed", "interrupted")


@dataclass(frozen=True)
class JobState:
    """The state of one job at one moment."""

    folder: JobFolder
    state: str
    """queued, starting, running, stopping, stopped, finished, failed or interrupted."""
    request: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    """status.json, if it belongs to the newest request or to an earlier one of the same job."""
    process: dict[str, Any] = field(default_factory=dict)
    """process.json: what the worker recorded of the process."""
    error: str | None = None

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def kind(self) -> str:
        """`train`, `dry-run`, `prepare`, `evaluate`, `push` or `restore`."""
        return self.folder.kind

    @property
    def request_id(self) -> str:
        return self.request.get("request_id") or ""

    @property
    def requested_at(self) -> float:
        """Unix seconds."""
        return self.request.get("requested_at") or 0.0

    @property
    def is_callers_mistake(self) -> bool:
        """Whether it failed because of something that the caller can fix."""
        return self.state == "failed" and self.status.get("exit_status") == InputError.exit_status

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE


def job_state(folder: JobFolder) -> JobState:
    """Read four small files and, if the status is running, test the lock."""
    try:
        return _job_state(folder)
    except DamagedError as error:  # a file was edited by hand: only this job is affected
        return JobState(folder, "failed", error=str(error))


def _job_state(folder: JobFolder) -> JobState:
    request = read_request(folder) or {}
    process = _of_request(readable_process(folder), request)
    try:
        status = read_status(folder) or {}
    except DamagedError as error:  # torn by a kill on a full disk, say; what to do stands in the request
        if is_locked(folder.lock):
            return JobState(folder, "running", request, process=process)
        fault = str(error).removeprefix(str(folder.status)).rpartition("; ")[0]
        remedy = f"{folder.again} to continue from its last complete step"
        torn = f"{folder.id} left a damaged {folder.status.name}, which{fault}; {remedy}."
        return JobState(folder, "failed", request, process=process, error=torn)
    state = _derive(folder, request, status, process)
    if state == "interrupted":  # it may have ended between reading its status and testing its lock
        status = read_status(folder) or {}
        state = _derive(folder, request, status, process)
    return JobState(folder, state, request, status, process, _error(folder, state, status, process))


def process_of(state: JobState) -> ProcessId | None:
    """The process that the worker started for the newest request; None if none is recorded."""
    if "pid" not in state.process:
        return None
    return ProcessId(state.process["pid"], state.process["created"])


def in_order(home: Home) -> list[JobState]:
    """The queue: every queued or running preparation, run, restoration, dry run and evaluation, in the order of the requests."""
    return queue_of(_states([folder for folder in home.jobs() if folder.kind != "push"]))


def pushes_in_order(home: Home) -> list[JobState]:
    """The queue of corpus pushes. They wait only for each other, as they need the network and not the CPU or GPU."""
    return queue_of(_states([folder for folder in home.jobs() if folder.kind == "push"]))


def queue_of(states: Iterable[JobState]) -> list[JobState]:
    """The queued and running ones of `states`, in the order of the requests."""
    return sorted((s for s in states if s.is_active), key=lambda s: (s.requested_at, s.id))


def states_of(home: Home) -> list[JobState]:
    """Every job that was requested, pushes included."""
    return _states(home.jobs())


def _states(folders: Sequence[JobFolder]) -> list[JobState]:
    return [job_state(folder) for folder in folders if folder.request.exists()]


def _derive(folder: JobFolder, request: dict[str, Any], status: dict[str, Any], process: dict[str, Any]) -> str:
    stop_requested = bool(_of_request(readable_stop(folder), request))
    if status and status.get("request_id", "") == request.get("request_id", ""):
        if status["state"] != "running":
            return status["state"]
        if not is_locked(folder.lock):
            return "interrupted"
        return "stopping" if stop_requested else "running"
    if process:
        if "ended_at" not in process and ProcessId(process["pid"], process["created"]).is_alive():
            return "stopping" if stop_requested else "starting"
        if stop_requested:
            return "stopped"
        # Without a recorded end, its worker was ended with it, as a reboot does: it did not fail by itself.
        return "failed" if "ended_at" in process else "interrupted"
    return "stopped" if stop_requested or request.get("held") else "queued"


def _of_request(value: dict[str, Any] | None, request: dict[str, Any]) -> dict[str, Any]:
    """`value` if it belongs to `request`, else {}: a stop or a process of an earlier attempt does not count."""
    if value and value.get("request_id", "") == request.get("request_id", ""):
        return value
    return {}


def _error(folder: JobFolder, state: str, status: dict[str, Any], process: dict[str, Any]) -> str | None:
    archived = Archived.of(folder) if state == "interrupted" and isinstance(folder, RunFolder) else None
    if archived is not None and isinstance(folder, RunFolder) and not process:
        was_training = f"{folder.id} was training when it was pushed last"
        if archived.can_resume(folder):
            return f"{was_training}; resume it here, unless it still trains elsewhere."
        return f"{was_training}. Its training state was not pushed; start a new run, with {STATE}=1 to push it too."
    if state == "interrupted":
        return (
            f"{folder.id} was ended from outside{_exit_reason(process)}; {folder.again} to go on "
            "from its last complete step."
        )
    if state != "failed":
        return None
    if status.get("state") == "failed" and status.get("error"):
        return status["error"]
    return (
        f"{folder.id} ended before it could say why{_exit_reason(process)}; see {folder.log.name}, then {folder.again}."
    )


def _exit_reason(process: dict[str, Any]) -> str:
    """The exit status or signal that the worker recorded, in parentheses; "" when it recorded none."""
    code = process.get("exit_code")
    if code is None:
        return ""
    return f" (signal {-code})" if code < 0 else f" (exit status {code})"
