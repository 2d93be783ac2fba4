"""Runs tasks with Ray: an instance of our own on this machine's loopback, or the cluster that RAY_ADDRESS names.

On a cluster the package is sent to the workers; the files that tasks read and write must be accessible from every
machine. Ray takes seconds to start, so it pays off on many machines, not on one. This is the only module that imports
Ray, which `pip install -c constraints.txt -r requirements-ray.txt` installs.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import psutil

from pipeline.core.environment import child_environment
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.paths import ROOT
from pipeline.data.execution.tasks import (
    POLL_SECONDS,
    Attempt,
    Executor,
    ShouldStop,
    Tasks,
    Work,
    never,
    outcome,
    thread_limits,
)
from pipeline.data.progress import Stopped

OBJECT_STORE_BYTES = 80 * 2**20
"""Near the minimum that Ray accepts; tasks carry paths, not data. Ray's default would be a third of the memory."""

SEEN_WITHIN_SECONDS = 60
"""How long a file that another machine has just written may stay invisible in a network folder."""

ANSWERS_WITHIN_SECONDS = 10
"""How long the cluster's head may take to accept a connection."""

STARTS = 2
"""How often Ray may try to start: on a loaded machine its parts are too late for time limits that are fixed in Ray."""

ENDS_WITHIN_SECONDS = 5
"""How long Ray's own processes may take to end by themselves."""

OF_ONE_MACHINE = frozenset(
    "PATH HOME USER SHELL TMPDIR VIRTUAL_ENV LD_LIBRARY_PATH PYTHONPATH XDG_CACHE_HOME "
    "PIPELINE_HOME HF_HOME HF_HUB_CACHE HF_DATASETS_CACHE "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE RAY_ADDRESS RAY_AUTH_MODE RAY_AUTH_TOKEN_PATH".split()
)
OF_ITS_HARDWARE = ("CUDA_", "NVIDIA_")
"""Environment variables of which another machine has its own values, by name and by prefix."""

T = TypeVar("T")


class ClusterExecutor(Executor):
    """Runs at most `workers` Ray tasks at a time, on one CPU each."""

    def __init__(self, workers: int, parts: str | None = None) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InputError(
                "engine is 'ray', and Ray is not installed; `pip install -c constraints.txt -r requirements-ray.txt`, or use local."
            )
        self._num_workers = workers
        self._parts = parts

    def run_tasks(self, function: Work[T], left: Tasks[T], should_stop: ShouldStop) -> None:
        if left:
            if should_stop():
                raise Stopped
            with _connected(min(self._num_workers, len(left)), self._parts) as ray:
                _run(ray, function, left, should_stop, self._num_workers)


def _run(ray: Any, function: Work[T], left: Tasks[T], should_stop: ShouldStop, num_workers: int) -> None:
    # We retry ourselves: Ray does not count the attempts of a task that ran out of memory.
    remote = ray.remote(num_cpus=1, max_retries=0)(_call)
    running: dict[Any, Attempt[T]] = {}
    try:
        while left or running:
            if should_stop():
                raise Stopped
            while left and len(running) < num_workers:
                attempt = left.take()
                running[remote.remote(function, attempt.task)] = attempt
            ready, _ = ray.wait(list(running), timeout=POLL_SECONDS)
            for reference in ready:
                attempt = running.pop(reference)
                try:
                    error = ray.get(reference)
                except ray.exceptions.RayError as reason:
                    left.lost(attempt, f"{type(reason).__name__}: {str(reason).strip().splitlines()[0]}")
                    continue
                if error is not None:
                    raise error
                _wait_until_visible(partial(left.is_done, attempt), should_stop)
                left.returned(attempt)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _call(function: Work[T], task: T) -> Exception | None:
    """Runs in a Ray worker."""
    return outcome(partial(function, task, never))


def _wait_until_visible(is_visible: Callable[[], bool], should_stop: ShouldStop) -> None:
    deadline = time.monotonic() + SEEN_WITHIN_SECONDS
    while not is_visible() and time.monotonic() < deadline:
        if should_stop():
            raise Stopped
        time.sleep(POLL_SECONDS)


# ---- the connection ----
@contextlib.contextmanager
def _connected(num_workers: int, parts: str | None) -> Iterator[Any]:
    """Ray, connected, and shut down at the end with every process that it has started here. Raises PipelineError when it
    cannot be started or reached.
    """
    before = set(_descendants())
    address = os.environ.get("RAY_ADDRESS")
    with _restored_sigterm():
        try:
            ray = _join(address) if address else _start(num_workers, parts)
        except SystemExit as error:  # from Ray's own SIGTERM handler, which is set while it starts
            raise Stopped from error
        except Exception as error:  # Ray raises a bare Exception when one of its parts is late
            where = f"at RAY_ADDRESS {address}" if address else "on this machine"
            raise PipelineError(f"Ray {where} does not start ({error}); mend that, or use the local engine.") from error
    try:
        yield ray
    finally:
        _shut_down(ray, before)


def _shut_down(ray: Any, before: set[psutil.Process]) -> None:
    """Shut Ray down, and kill what it started after `before` and is still there: on a loaded machine its processes have
    outlived it by minutes, and those of a start that failed stay.
    """
    started = set(_descendants()) - before  # later they may not be ours: a child of one that has ended is adopted
    ray.shutdown()
    _, alive = psutil.wait_procs(started, timeout=ENDS_WITHIN_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _join(address: str) -> Any:
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if port.isdigit():  # Ray itself retries for minutes before it reports that nothing answers
        socket.create_connection((host.strip("[]"), int(port)), ANSWERS_WITHIN_SECONDS).close()
    import ray

    runtime = {"env_vars": {**for_other_machines(), **thread_limits(1)}, "py_modules": [str(ROOT / "pipeline")]}
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, runtime_env=runtime)
    except BaseException:
        ray.shutdown()
        raise
    return ray


def for_other_machines(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The part of `environ` for other machines: no credentials, not even for the parts; these have their own."""
    environment = child_environment(environ)
    return {
        name: value
        for name, value in environment.items()
        if name not in OF_ONE_MACHINE and not name.startswith(OF_ITS_HARDWARE)
    }


def _start(num_workers: int, parts: str | None) -> Any:
    """Start a Ray of our own. Its processes inherit the environment, which is therefore replaced while they start.

    When this process is killed, Ray's processes end too; two idle helper processes of Ray take a minute to notice.
    """
    own = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # By default Ray listens on every interface, whatever node address it is given. This switch keeps it on the
        # loopback; it is named after the systems where that is the default. It is read when Ray is imported.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _own_token(),  # otherwise Ray writes one into the home folder
    }
    with _environment({**child_environment(address=parts), **thread_limits(1), **own}):
        import ray

        before = set(_descendants())
        for attempt in range(1, STARTS + 1):
            try:
                ray.init(
                    address="local",
                    num_cpus=num_workers,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _node_ip_address="127.0.0.1",
                )
                if (found := ray.util.get_node_ip_address()) != "127.0.0.1":
                    raise RuntimeError(f"it listens on {found} instead of 127.0.0.1")
                break
            except BaseException as error:
                _shut_down(ray, before)
                if attempt == STARTS or not isinstance(error, Exception):
                    raise
    return ray


@functools.cache
def _own_token() -> str:
    """One token for the life of this process, because Ray reads it once."""
    return secrets.token_hex(32)


@contextlib.contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _restored_sigterm() -> Iterator[None]:
    """Restores the handler of SIGTERM: Ray replaces it by one that ends the process."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
