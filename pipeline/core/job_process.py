"""The job process's side of a job folder: holds the lock, writes status.json, and detects stop requests.

Used by the processes that do the work (prepare, train, push). `pipeline.jobs` is the side that requests the work.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Any

from pipeline.core.atomic_io import clear_leftovers, locked, overwrite_json, read_json, readable_json, write_json
from pipeline.core.environment import without_credentials
from pipeline.core.errors import BusyError, PipelineError
from pipeline.core.paths import JobFolder
from pipeline.core.text import without_errno

STOP_LOOKED_FOR_EVERY_SECONDS = 0.5


STATES = ("running", "stopped", "finished", "failed")
"""What a job writes as its state."""


class StopRequested(BaseException):
    """A stop was requested inside `JobProcess.interruptible`. Like KeyboardInterrupt, it is not an Exception."""


class JobProcess:
    """Runs one request: `with JobProcess(folder) as job: ...`. Entering raises BusyError while another process runs it.

    An exception inside writes the state `failed`, with the message of a PipelineError, or with the type and message of
    any other exception. It then propagates, so that its traceback reaches the log, even when the disk is too full to
    write the state. SIGTERM and SIGINT count as stop requests.
    """

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = {}
        self._signalled = threading.Event()
        self._is_interruptible = False
        self._stack = ExitStack()
        self._request: dict[str, Any] = {}

    def __enter__(self) -> JobProcess:
        if not self._stack.enter_context(locked(self.folder.lock, wait=False)):
            self._stack.close()
            raise BusyError(f"{self.folder.id} is already running; stop it first or choose another id.")
        clear_leftovers(self.folder.path)
        self._request = read_json(self.folder.request) or {}
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.facts = {"request_id": self.request_id, "pid": os.getpid(), "started_at": time.time()}
        self.write(state="running", error=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if isinstance(error, PipelineError):
                self._fail(error=str(error), exit_status=error.exit_status)
            elif error is not None:
                message = without_errno(without_credentials(f"{type(error).__name__}: {error}"))
                self._fail(error=f"{message} (traceback in {self.folder.log.name})")

    @property
    def request(self) -> dict[str, Any]:
        """Content of request.json; empty when the job was started by hand."""
        return self._request

    @property
    def request_id(self) -> str:
        return self._request.get("request_id", "")

    @property
    def stop_requested(self) -> bool:
        """Whether to save and exit: a signal arrived, or stop.json names this request. One stat without stop.json."""
        if self._signalled.is_set():
            return True
        if not self.folder.stop.exists():
            return False
        found = readable_json(self.folder.stop)  # a damaged one must not end the job
        return bool(found) and found.get("request_id", "") == self.request_id

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside, a stop request raises StopRequested as soon as the main thread runs Python code. Call it from the
        main thread, for work that cannot check `stop_requested` for a long time.
        """
        has_ended = threading.Event()
        self._is_interruptible = True
        try:
            if self._signalled.is_set():
                raise StopRequested
            threading.Thread(target=self._signal_on_stop_request, args=(has_ended,), daemon=True).start()
            yield
        finally:
            self._is_interruptible = False
            has_ended.set()

    def write(self, **facts: Any) -> None:
        """Merge `facts` into status.json; `state` is one of STATES."""
        self.facts.update(facts, updated_at=time.time())
        write_json(self.folder.status, self.facts)

    def _fail(self, **facts: Any) -> None:
        try:
            self.write(state="failed", **facts)
        except OSError:
            with contextlib.suppress(OSError):
                overwrite_json(self.folder.status, self.facts)

    def _signal_on_stop_request(self, has_ended: threading.Event) -> None:
        while not has_ended.wait(STOP_LOOKED_FOR_EVERY_SECONDS):
            if self.stop_requested:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled.set()
        if self._is_interruptible:
            self._is_interruptible = False  # a second signal must not interrupt the cleanup after the first
            raise StopRequested
