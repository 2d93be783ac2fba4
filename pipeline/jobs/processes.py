"""Starts processes that outlive whoever started them, recognises them later, and ends them.

A process is known by its id and its creation time: ids are used again, the pair is not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
"""The folder `python -m pipeline` works from."""

JOB_VARIABLES = frozenset(
    "PATH HOME USER LANG TZ TMPDIR SHELL VIRTUAL_ENV LD_LIBRARY_PATH SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE "
    "HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy PIPELINE_HOME XDG_CACHE_HOME "
    "HF_HOME HF_HUB_CACHE HF_DATASETS_CACHE HF_ENDPOINT HF_HUB_OFFLINE HF_DATASETS_OFFLINE HF_HUB_DISABLE_XET".split()
)
JOB_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "OMP_", "MKL_", "TORCH", "PYTORCH_", "ACCELERATE_")


@dataclass(frozen=True)
class ProcessId:
    """One process, told apart from a later one with the same number."""

    pid: int
    created: float

    def is_alive(self) -> bool:
        """Whether that very process still runs; one that has ended and was not collected does not."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 0.01 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def signal_group(self, number: signal.Signals) -> None:
        """Send `number` to the process and all it started; does nothing when it has ended."""
        if self.is_alive():
            os.killpg(self.pid, number)  # spawn() made it the leader of its own group


def job_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a job may see of `environ`: an allow-list, so that no token reaches a process that has no use for it."""
    kept = {name: value for name, value in environ.items() if name in JOB_VARIABLES or name.startswith(JOB_PREFIXES)}
    # A token may also lie in the Hub client's own folder; jobs read public data only.
    return {**kept, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def spawn(
    module: str, arguments: Iterable[str], *, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `python -m module arguments` in a session of its own, its output appended to `log`.

    Output goes to a file because a pipe that nobody reads fills up and freezes the job.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH", "")]))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )


def identify(pid: int) -> ProcessId:
    """The identity of a process that was just started; if it has ended already, one that is never alive."""
    try:
        return ProcessId(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return ProcessId(pid, 0.0)
