"""A job's own side of its folder: it holds the lock, writes status.json, and sees when it is asked to stop.

Used by the processes that do the work (prepare, train). Who asks for the work is `pipeline.jobs`.
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

from pipeline.core.atomic_io import clear_leftovers, locked, overwrite_json, read_json, write_json
from pipeline.core.environment import without_credentials
from pipeline.core.errors import BusyError, PipelineError
from pipeline.core.paths import JobFolder

STOP_LOOKED_FOR_EVERY_SECONDS = 0.5


class StopRequested(BaseException):
    """A stop was requested inside `Job.interruptible`. Like KeyboardInterrupt no Exception: nothing takes it for a fault."""


class Job:
    """Runs one request: `with Job(folder) as job: ...`. Entering raises BusyError while another process runs it.

    Leaving with a PipelineError writes the state `failed` with its sentence; any other exception names its type and is
    raised on, so that its traceback reaches the log. Where the disk has no room even for that, what was raised goes on
    all the same. SIGTERM and SIGINT count as a request to stop.
    """

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = {}
        self._signalled = threading.Event()
        self._is_interruptible = False
        self._stack = ExitStack()
        self._request: dict[str, Any] = {}

    def __enter__(self) -> Job:
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
                told = without_credentials(f"{type(error).__name__}: {error}")
                self._fail(error=f"{told} (traceback in {self.folder.log.name})")

    @property
    def request(self) -> dict[str, Any]:
        """What was asked for; empty when the job was started by hand."""
        return self._request

    @property
    def request_id(self) -> str:
        return self._request.get("request_id", "")

    @property
    def stop_requested(self) -> bool:
        """Whether to save and leave: a signal came, or stop.json names this request. Costs one stat when it does not."""
        if self._signalled.is_set():
            return True
        if not self.folder.stop.exists():
            return False
        return (read_json(self.folder.stop) or {}).get("request_id", "") == self.request_id

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside, a request to stop raises StopRequested as soon as the main thread runs Python, which has to be the one that
        calls this: for work in which nobody can ask for long whether a stop was requested.
        """
        has_left = threading.Event()
        self._is_interruptible = True
        try:
            if self._signalled.is_set():
                raise StopRequested
            threading.Thread(target=self._signal_when_asked, args=(has_left,), daemon=True).start()
            yield
        finally:
            self._is_interruptible = False
            has_left.set()

    def write(self, **facts: Any) -> None:
        """Merge `facts` into status.json; `state` is one of running, stopped, finished, failed."""
        self.facts.update(facts, updated_at=time.time())
        write_json(self.folder.status, self.facts)

    def _fail(self, **facts: Any) -> None:
        try:
            self.write(state="failed", **facts)
        except OSError:
            with contextlib.suppress(OSError):
                overwrite_json(self.folder.status, self.facts)

    def _signal_when_asked(self, has_left: threading.Event) -> None:
        while not has_left.wait(STOP_LOOKED_FOR_EVERY_SECONDS):
            if self.stop_requested:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled.set()
        if self._is_interruptible:
            self._is_interruptible = False  # one is enough: the next would interrupt what cleans up behind this one
            raise StopRequested
