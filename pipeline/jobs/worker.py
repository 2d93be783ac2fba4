"""One per home: takes requests in order, starts each job detached, sees how it ends, keeps the publisher alive.

Holds no truth: killed, it is started again by the next request or page, and finds every job as it is. Leaves when there
is nothing to do. `python -m pipeline.jobs`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping

from pipeline.environment import child_environment
from pipeline.files import is_locked, locked, read_json, write_json
from pipeline.folders import Home, JobFolder
from pipeline.hub import publisher
from pipeline.jobs.processes import identify, spawn
from pipeline.jobs.state import RUNNING, JobState, in_order, process_of
from pipeline.settings import Settings

POLL_SECONDS = 0.5
MODULES = {"train": "pipeline.training", "prepare": "pipeline.data"}
"""What runs each kind of job; named here, never imported."""


def wake(settings: Settings) -> None:
    """Make sure a worker sees the newest request. Starting one too many is harmless: it leaves at once."""
    home = Home(settings.home)
    spawn("pipeline.jobs", [], log=home.worker_log, environment=own_environment(settings))


def own_environment(settings: Settings) -> dict[str, str]:
    """The worker's and the publisher's environment: everything, with the home and the repo of `settings`."""
    named = {"PIPELINE_HOME": str(settings.home)}
    if settings.hub_repo:
        named["PIPELINE_HUB_REPO"] = settings.hub_repo
    return {**os.environ, **named}


class Worker:
    """Runs until nothing is queued, running or waiting to be published."""

    def __init__(self, settings: Settings, modules: Mapping[str, str] = MODULES) -> None:
        self.settings = settings
        self.modules = modules
        self.home = Home(settings.home)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        """Jobs started by this very process, by request id: only their exit status can be known."""
        self._publisher: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        while True:
            with locked(self.home.worker_lock, wait=False) as got:
                if not got:
                    return
                while self.step():
                    time.sleep(POLL_SECONDS)
            # A request may have come after the last look and before the lock was free: its own worker found the lock
            # taken and left. So look once more.
            if not self.has_work():
                return

    def step(self) -> bool:
        """Look once at everything; returns whether there is something left to do."""
        self._collect()
        queue = in_order(self.home)
        current = next((state for state in queue if state.state in RUNNING), None)
        if current is None and queue:
            self._start(queue[0])
        elif current is not None and current.state == "stopping":
            self._press(current)
        self._keep_publisher()
        return self.has_work()

    def has_work(self) -> bool:
        return bool(in_order(self.home)) or publisher.pending(self.settings)

    def _folder(self, state: JobState) -> JobFolder:
        return self.home.run(state.id) if state.kind == "train" else self.home.corpus(state.id)

    def _start(self, state: JobState) -> None:
        """Start a queued job and write down which process it is."""
        folder = self._folder(state)
        environment = {**child_environment(), "PIPELINE_HOME": str(self.settings.home)}
        child = spawn(self.modules[state.kind], [str(folder.path)], log=folder.log, environment=environment)
        created = identify(child.pid).created
        self._children[state.request_id] = child
        write_json(
            folder.process,
            {"request_id": state.request_id, "pid": child.pid, "created": created, "started_at": time.time()},
        )

    def _collect(self) -> None:
        """Write down how jobs ended that this worker started."""
        for request_id, child in list(self._children.items()):
            code = child.poll()
            if code is None:
                continue
            del self._children[request_id]
            for folder in [*self.home.runs(), *self.home.corpora()]:
                known = read_json(folder.process) or {}
                if known.get("request_id") == request_id and known.get("pid") == child.pid:
                    write_json(folder.process, {**known, "ended_at": time.time(), "exit_code": code})

    def _press(self, state: JobState) -> None:
        """A job that was asked to stop and does not: SIGTERM after the grace, SIGKILL after as much again."""
        asked = (read_json(self._folder(state).stop) or {}).get("requested_at", time.time())
        waited = time.time() - asked
        grace = self.settings.limits.stop_grace_seconds
        process = process_of(state)
        if process is None or waited < grace:
            return
        process.signal_group(signal.SIGTERM if waited < 2 * grace else signal.SIGKILL)

    def _keep_publisher(self) -> None:
        if self._publisher is not None and self._publisher.poll() is not None:
            self._publisher = None
        lock = self.home.publisher_lock(self.settings.repo)
        if self._publisher is None and publisher.pending(self.settings) and not is_locked(lock):
            environment = own_environment(self.settings)
            self._publisher = spawn("pipeline.hub", [], log=self.home.publisher_log, environment=environment)
