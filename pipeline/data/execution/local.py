"""Runs tasks on this machine: one after another in this process, or in worker processes that we start.

Workers are spawned rather than forked, because polars hangs after a fork. They get the environment of all our child
processes and stay in our process group, so that a signal to the group ends them too.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from pipeline.core.environment import child_environment
from pipeline.data.execution.tasks import (
    POLL_SECONDS,
    Attempt,
    Executor,
    ShouldStop,
    Tasks,
    Work,
    thread_limits,
    threads_per_worker,
)
from pipeline.data.progress import Stopped

T = TypeVar("T")


class LocalExecutor(Executor):
    """Runs tasks in `workers` processes; 1 means this process."""

    def __init__(self, workers: int, parts: str | None = None) -> None:
        self._num_workers = workers
        self._parts = parts

    def run_tasks(self, function: Work[T], left: Tasks[T], should_stop: ShouldStop) -> None:
        if self._num_workers == 1:
            _run_here(function, left, should_stop)
        else:
            _run_in_workers(function, left, should_stop, min(self._num_workers, len(left)), self._parts)


def _run_here(function: Work[T], left: Tasks[T], should_stop: ShouldStop) -> None:
    while left:
        if should_stop():
            raise Stopped
        attempt = left.take()
        function(attempt.task, should_stop)
        left.returned(attempt)


def _run_in_workers(
    function: Work[T], left: Tasks[T], should_stop: ShouldStop, num_workers: int, parts: str | None
) -> None:
    limits = thread_limits(threads_per_worker(num_workers) if num_workers else 1)
    environment = {**child_environment(address=parts), **limits}
    idle: list[_Worker] = []
    busy: dict[Connection, tuple[_Worker, Attempt[T]]] = {}
    try:
        while left or busy:
            if should_stop():
                raise Stopped
            # ---- assign: one task per worker, so that a death costs one task ----
            while left and len(busy) < num_workers:
                worker, attempt = idle.pop() if idle else _Worker(environment), left.take()
                busy[worker.connection] = worker, attempt
                worker.assign(function, attempt.task)
            # ---- receive: a result, or the end of the process ----
            for connection in wait(list(busy), POLL_SECONDS):
                worker, attempt = busy.pop(connection)  # type: ignore[call-overload]
                try:
                    error = worker.connection.recv()
                except (EOFError, OSError):
                    left.lost(attempt, worker.end())
                    continue
                idle.append(worker)
                if error is not None:
                    raise error
                left.returned(attempt)
    finally:
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            worker.end()


class _Worker:
    """One process, and our end of the socket to it. Not a pipe to stdout, because the function may print."""

    def __init__(self, environment: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.data.execution.worker", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        self.connection: Connection[Any, Any] = Connection(ours.detach())

    def assign(self, function: Work[T], task: T) -> None:
        call = pickle.dumps((function, task))
        with contextlib.suppress(OSError):  # it has died; the closed socket reports that next
            self.connection.send_bytes(call)

    def end(self) -> str:
        """Kill it and return how it ended. Outputs are written atomically, so none is left incomplete."""
        self._process.kill()
        status = self._process.wait()
        self.connection.close()
        return f"signal {-status}" if status < 0 else f"exit status {status}"
