"""The worker, one per home: takes requests in order, starts each job detached, records how it ends, keeps the publisher
alive. It runs one training, dry-run, preparation or evaluation job at a time, and beside it one push of a corpus.

`python -m pipeline.jobs`. It has no state of its own: after a kill, the next request or page starts it again, and it
reads the state of every job from its files. It exits when there is nothing to do, or when a worker that was given
another token or repo takes over.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping

from pipeline.config.source_spec import reads_index
from pipeline.core.atomic_io import is_locked, locked, readable_json, write_json
from pipeline.core.credentials import TOKEN, full_environment
from pipeline.core.environment import child_environment, is_credential, is_harmless, num_cores
from pipeline.core.paths import Home
from pipeline.core.processes import identify, spawn
from pipeline.core.settings import GALLERY_REPO, Settings
from pipeline.hub import publisher
from pipeline.hub.push_status import request_retry
from pipeline.hub.takeover import Credentials
from pipeline.jobs.job_files import readable_stop
from pipeline.jobs.state import RUNNING, JobState, in_order, process_of, pushes_in_order

POLL_SECONDS = 0.5
TAKEOVER_SECONDS = 30.0
WATCH_SECONDS = 3.0
LAUNCHER = "torch.distributed.run"
"""Starts a run of several processes: launches the ranks, connects them, and ends all when one fails."""
MODULES = {
    "train": "pipeline.training",
    "dry-run": "pipeline.training.dry_run",
    "prepare": "pipeline.data",
    "evaluate": "pipeline.evaluation",
    "push": "pipeline.hub.push_job",
    "restore": "pipeline.hub.restore_job",
}
"""The module that runs each kind of job; never imported here."""


def wake(settings: Settings) -> None:
    """Make sure a worker sees the newest request. A surplus worker is harmless: it exits at once."""
    home = Home(settings.home)
    spawn("pipeline.jobs", [], log=home.worker_log, environment=own_environment(settings))


def has_work(settings: Settings) -> bool:
    """Whether a job is queued or running, or a checkpoint waits to be published."""
    home = Home(settings.home)
    return bool(in_order(home) or pushes_in_order(home)) or publisher.pending(settings)


def keep_awake(settings: Settings) -> None:
    """Wake the worker now, and again whenever it was killed and has work left. Does not return; for a page's thread."""
    wake(settings)
    while True:
        time.sleep(WATCH_SECONDS)
        # A full disk, for example, must not end the thread.
        with contextlib.suppress(OSError):
            if not is_locked(Home(settings.home).worker_lock) and has_work(settings):
                wake(settings)


def own_environment(settings: Settings) -> dict[str, str]:
    """The worker's environment: the harmless variables, the Hub token, bucket credentials, and the home and repo of
    `settings`.
    """
    named = {"PIPELINE_HOME": str(settings.home)}
    if settings.hub_repo:
        named["PIPELINE_HUB_REPO"] = settings.hub_repo
    if settings.gallery_repo:
        named[GALLERY_REPO] = settings.gallery_repo
    variables = full_environment().items()
    kept = {name: value for name, value in variables if name == TOKEN or is_harmless(name) or is_credential(name)}
    return {**kept, **named}


def hub_environment(settings: Settings) -> dict[str, str]:
    """The environment of the publisher and of pushes: the worker's without bucket credentials."""
    return {name: value for name, value in own_environment(settings).items() if not is_credential(name)}


class Worker:
    """Runs until nothing is queued, running or waiting to be published."""

    def __init__(self, settings: Settings, modules: Mapping[str, str] = MODULES) -> None:
        self.settings = settings
        self.modules = modules
        self.home = Home(settings.home)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        """Jobs started by this process, by request id; the exit status of no other job is available."""
        self._publisher: subprocess.Popen[bytes] | None = None
        self._credentials = Credentials(settings)

    def run(self) -> None:
        give_up_at = time.monotonic() + TAKEOVER_SECONDS
        while True:
            with locked(self.home.worker_lock, wait=False) as acquired:
                if acquired and not self._work():
                    break
            if not acquired:
                if time.monotonic() > give_up_at or not self._takes_over():
                    return
                time.sleep(POLL_SECONDS)
            # A request may have arrived after the last step and before the lock was released: the worker that it woke
            # found the lock taken and exited. So check once more.
            elif not self.has_work():
                return
        while self._children:  # only their parent can record how they end
            self._collect()
            time.sleep(POLL_SECONDS)

    def _work(self) -> bool:
        """Work until nothing is left. Returns False when the home was deleted or another worker takes over."""
        inode = self.home.worker_lock.stat().st_ino
        earlier, own = readable_json(self.home.worker_status), self._credentials.digest
        if earlier and self._credentials.replace(earlier.get("credentials")):
            self._credentials.request_takeover()  # from a publisher that still has the earlier ones
            request_retry(self.home, self.settings.repo)  # what was refused, perhaps because of the token
        write_json(self.home.worker_status, {"pid": os.getpid(), "credentials": own})
        while self.step():
            time.sleep(POLL_SECONDS)
            if not self._still_holds(inode):
                self._children.clear()
                return False  # the home was deleted, and perhaps recreated: then it belongs to another worker
            if self._credentials.are_replaced():
                return False
        return True

    def _takes_over(self) -> bool:
        """Whether the worker at work has another token or repo than this one; asks it to end."""
        if not self._credentials.replace(readable_json(self.home.worker_status).get("credentials")):
            return False
        self._credentials.request_takeover()
        return True

    def _still_holds(self, inode: int) -> bool:
        """Whether the lock file is still the file that this worker locked."""
        try:
            return self.home.worker_lock.stat().st_ino == inode
        except FileNotFoundError:
            return False

    def step(self) -> bool:
        """Do one pass over all jobs; returns whether there is work left."""
        self._collect()
        for queue in (in_order(self.home), pushes_in_order(self.home)):
            self._advance(queue)
        self._keep_publisher()
        return self.has_work()

    def has_work(self) -> bool:
        return has_work(self.settings)

    def _advance(self, queue: list[JobState]) -> None:
        """Start the first job of the queue when none runs; enforce the stop of one that was requested to stop."""
        current = next((state for state in queue if state.state in RUNNING), None)
        if current is None and queue:
            self._start(queue[0])
        elif current is not None and current.state == "stopping":
            self._enforce_stop(current)

    def _environment(self, state: JobState) -> dict[str, str]:
        """A job's environment: a push or restoration gets the Hub token; a preparation the credentials for its `parts`, and those of
        the package index if it reads that; a run none.
        """
        if state.kind in ("push", "restore"):
            return hub_environment(self.settings)
        request = state.request if state.kind == "prepare" else {}
        parts, config = (request.get("workforce") or {}).get("parts"), request.get("config") or {}
        with_index = any(reads_index(config.get(name)) for name in ("source", "validation_source"))
        environment = child_environment(full_environment(), address=parts, with_index=with_index)
        return {**environment, "PIPELINE_HOME": str(self.settings.home)}

    def _start(self, state: JobState) -> None:
        """Start a queued job and record its process."""
        folder = state.folder
        module, arguments, environment = self.modules[state.kind], [str(folder.path)], self._environment(state)
        if (num_processes := state.request.get("processes") or 1) > 1:
            launch = ["--standalone", "--nproc_per_node", str(num_processes), "-m"]
            module, arguments = LAUNCHER, [*launch, module, *arguments]
            # By default the launcher gives each process one thread.
            environment.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // num_processes)))
        child = spawn(module, arguments, log=folder.log, environment=environment)
        created = identify(child.pid).created
        self._children[state.request_id] = child
        write_json(
            folder.process,
            {"request_id": state.request_id, "pid": child.pid, "created": created, "started_at": time.time()},
        )

    def _collect(self) -> None:
        """Record the exit status of ended jobs that this worker started."""
        for request_id, child in list(self._children.items()):
            code = child.poll()
            if code is None:
                continue
            del self._children[request_id]
            for folder in self.home.jobs():
                process = readable_json(folder.process)
                if process.get("request_id") == request_id and process.get("pid") == child.pid:
                    write_json(folder.process, {**process, "ended_at": time.time(), "exit_code": code})

    def _enforce_stop(self, state: JobState) -> None:
        """End a job that ignores a stop request: SIGTERM after the grace period, SIGKILL after twice that."""
        requested_at = readable_stop(state.folder).get("requested_at", time.time())
        waited = time.time() - requested_at
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
