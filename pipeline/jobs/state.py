"""What a job is doing, derived from its files and its lock; nothing here is stored.

status.json knows running, stopped, finished and failed. The rest follows: *queued*: asked for, not started. *starting*:
its process lives but has not written yet. *stopping*: runs, and a stop was asked for. *interrupted*: says it runs, but
nobody holds its lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.atomic_io import is_locked, read_json
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import Home, JobFolder
from pipeline.jobs.processes import ProcessId

RUNNING = ("starting", "running", "stopping")
ACTIVE = ("queued", *RUNNING)
RESUMABLE = ("stopped", "failed", "interrupted")


@dataclass(frozen=True)
class JobState:
    """One job at one moment."""

    id: str
    kind: str
    """`train`, `prepare` or `push`."""
    state: str
    """queued, starting, running, stopping, stopped, finished, failed or interrupted."""
    request: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    """status.json, if it belongs to the newest request or to an earlier one of the same job."""
    process: dict[str, Any] = field(default_factory=dict)
    """process.json: what the worker knows of the process."""
    error: str | None = None

    @property
    def request_id(self) -> str:
        return self.request.get("request_id", "")

    @property
    def requested_at(self) -> float:
        """Unix seconds."""
        return self.request.get("requested_at", 0.0)

    @property
    def is_callers_mistake(self) -> bool:
        """Whether it failed for something that whoever asked can mend."""
        return self.state == "failed" and self.status.get("exit_status") == InputError.exit_status

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE


def job_state(folder: JobFolder) -> JobState:
    """Reads four small files and, if the job says it runs, asks for its lock."""
    try:
        return _job_state(folder)
    except DamagedError as error:  # somebody edited a file by hand: this job is lost, the others are not
        return JobState(folder.id, folder.kind, "failed", error=str(error))


def _job_state(folder: JobFolder) -> JobState:
    request = read_json(folder.request) or {}
    status = read_json(folder.status) or {}
    process = _of_request(read_json(folder.process), request)
    state = _derive(folder, request, status, process)
    if state == "interrupted":  # it may have ended between the reading of its status and the look at its lock
        status = read_json(folder.status) or {}
        state = _derive(folder, request, status, process)
    return JobState(folder.id, folder.kind, state, request, status, process, _error(folder, state, status, process))


def process_of(state: JobState) -> ProcessId | None:
    """The process the worker started for the newest request, if it wrote one down."""
    if "pid" not in state.process:
        return None
    return ProcessId(state.process["pid"], state.process["created"])


def in_order(home: Home) -> list[JobState]:
    """Every preparation and run that is queued or runs, in the order it was asked for: the queue."""
    return _active([*home.runs(), *home.corpora()])


def pushes_in_order(home: Home) -> list[JobState]:
    """The same for pushes of corpora, which wait for nothing but each other: they need the network, not the machine."""
    return _active([corpus.push for corpus in home.corpora()])


def _active(folders: Sequence[JobFolder]) -> list[JobState]:
    states = [job_state(folder) for folder in folders if folder.request.exists()]
    return sorted((s for s in states if s.is_active), key=lambda s: (s.requested_at, s.id))


def _derive(folder: JobFolder, request: dict[str, Any], status: dict[str, Any], process: dict[str, Any]) -> str:
    stop_asked = bool(_of_request(read_json(folder.stop), request))
    if status and status.get("request_id", "") == request.get("request_id", ""):
        if status["state"] != "running":
            return status["state"]
        if not is_locked(folder.lock):
            return "interrupted"
        return "stopping" if stop_asked else "running"
    if process:
        if "ended_at" not in process and ProcessId(process["pid"], process["created"]).is_alive():
            return "stopping" if stop_asked else "starting"
        return "stopped" if stop_asked else "failed"
    return "stopped" if stop_asked or request.get("held") else "queued"


def _of_request(value: dict[str, Any] | None, request: dict[str, Any]) -> dict[str, Any]:
    """`value` if it speaks of `request`, else nothing: a stop or a process of an earlier attempt says nothing now."""
    if value and value.get("request_id", "") == request.get("request_id", ""):
        return value
    return {}


def _error(folder: JobFolder, state: str, status: dict[str, Any], process: dict[str, Any]) -> str | None:
    if state == "interrupted":
        return (
            f"{folder.id} was ended from outside{_how(process)}; {folder.again} to go on from its last complete step."
        )
    if state != "failed":
        return None
    if status.get("state") == "failed" and status.get("error"):
        return status["error"]
    return f"{folder.id} ended before it could say why{_how(process)}; see {folder.log.name}, then {folder.again}."


def _how(process: dict[str, Any]) -> str:
    """How the worker saw the process end, in brackets; nothing when it did not see it."""
    code = process.get("exit_code")
    if code is None:
        return ""
    return f" (signal {-code})" if code < 0 else f" (exit status {code})"
