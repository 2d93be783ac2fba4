"""One per home: takes requests in order, starts each job detached, sees how it ends, keeps the publisher alive. One job
at a time that works on this machine, and beside it one push of a corpus.

Holds no truth: killed, it is started again by the next request or page, and finds every job as it is. Leaves when there
is nothing to do. `python -m pipeline.jobs`.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping

from pipeline.core.atomic_io import is_locked, locked, readable_json, write_json
from pipeline.core.credentials import TOKEN, full_environment
from pipeline.core.environment import child_environment, is_credential, is_harmless, num_cores
from pipeline.core.paths import Home, JobFolder
from pipeline.core.settings import Settings
from pipeline.hub import publisher
from pipeline.jobs.processes import identify, spawn
from pipeline.jobs.state import RUNNING, JobState, in_order, process_of, pushes_in_order

POLL_SECONDS = 0.5
LAUNCHER = "torch.distributed.run"
"""Starts a run of several processes: its ranks, which find one another, and ends all when one fails."""
MODULES = {"train": "pipeline.training", "prepare": "pipeline.data", "push": "pipeline.hub.push_job"}
"""What runs each kind of job; named here, never imported."""


def wake(settings: Settings) -> None:
    """Make sure a worker sees the newest request. Starting one too many is harmless: it leaves at once."""
    home = Home(settings.home)
    spawn("pipeline.jobs", [], log=home.worker_log, environment=own_environment(settings))


def own_environment(settings: Settings) -> dict[str, str]:
    """The worker's environment: what holds no secret, the Hub token, credentials for buckets, and the home and the repo of
    `settings`.
    """
    named = {"PIPELINE_HOME": str(settings.home)}
    if settings.hub_repo:
        named["PIPELINE_HUB_REPO"] = settings.hub_repo
    known = full_environment().items()
    kept = {name: value for name, value in known if name == TOKEN or is_harmless(name) or is_credential(name)}
    return {**kept, **named}


def hub_environment(settings: Settings) -> dict[str, str]:
    """The publisher's and a push's: the worker's, without the credentials for buckets."""
    return {name: value for name, value in own_environment(settings).items() if not is_credential(name)}


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
                held = self.home.worker_lock.stat().st_ino
                while self.step():
                    time.sleep(POLL_SECONDS)
                    if not self._still_holds(held):
                        return  # the home was deleted, and perhaps made again: another worker's now
            # A request may have come after the last look and before the lock was free: its own worker found the lock
            # taken and left. So look once more.
            if not self.has_work():
                return

    def _still_holds(self, inode: int) -> bool:
        """Whether the lock file is the one that this worker locked."""
        try:
            return self.home.worker_lock.stat().st_ino == inode
        except FileNotFoundError:
            return False

    def step(self) -> bool:
        """Look once at everything; returns whether there is something left to do."""
        self._collect()
        for queue in (in_order(self.home), pushes_in_order(self.home)):
            self._advance(queue)
        self._keep_publisher()
        return self.has_work()

    def has_work(self) -> bool:
        return bool(in_order(self.home) or pushes_in_order(self.home)) or publisher.pending(self.settings)

    def _advance(self, queue: list[JobState]) -> None:
        """Start the first job of the queue when none of it runs; press the one that was asked to stop."""
        current = next((state for state in queue if state.state in RUNNING), None)
        if current is None and queue:
            self._start(queue[0])
        elif current is not None and current.state == "stopping":
            self._press(current)

    def _folder(self, state: JobState) -> JobFolder:
        if state.kind == "train":
            return self.home.run(state.id)
        corpus = self.home.corpus(state.id)
        return corpus.push if state.kind == "push" else corpus

    def _environment(self, state: JobState) -> dict[str, str]:
        """What a job may see: a push the token, a preparation what its parts need, a run no secret."""
        if state.kind == "push":
            return hub_environment(self.settings)
        parts = (state.request.get("workforce") or {}).get("parts") if state.kind == "prepare" else None
        return {**child_environment(full_environment(), address=parts), "PIPELINE_HOME": str(self.settings.home)}

    def _start(self, state: JobState) -> None:
        """Start a queued job and write down which process it is."""
        folder = self._folder(state)
        module, arguments, environment = self.modules[state.kind], [str(folder.path)], self._environment(state)
        if (num_processes := state.request.get("processes", 1)) > 1:
            launch = ["--standalone", "--nproc_per_node", str(num_processes), "-m"]
            module, arguments = LAUNCHER, [*launch, module, *arguments]
            # Left to itself, the launcher gives each process one thread.
            environment.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // num_processes)))
        child = spawn(module, arguments, log=folder.log, environment=environment)
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
            corpora = self.home.corpora()
            for folder in [*self.home.runs(), *corpora, *(corpus.push for corpus in corpora)]:
                known = readable_json(folder.process)
                if known.get("request_id") == request_id and known.get("pid") == child.pid:
                    write_json(folder.process, {**known, "ended_at": time.time(), "exit_code": code})

    def _press(self, state: JobState) -> None:
        """A job that was asked to stop and does not: SIGTERM after the grace, SIGKILL after as much again."""
        asked = readable_json(self._folder(state).stop).get("requested_at", time.time())
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
            environment = hub_environment(self.settings)
            self._publisher = spawn("pipeline.hub", [], log=self.home.publisher_log, environment=environment)
