"""Starts processes that outlive their parent, recognises them later, and ends them.

A process is identified by its id and its creation time: ids are reused, the pair is not.
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

from pipeline.core.environment import python_path


@dataclass(frozen=True)
class ProcessId:
    """Identifies one process, also after its pid is reused."""

    pid: int
    created: float
    """Unix seconds."""

    def is_alive(self) -> bool:
        """Whether this process still runs; False for a zombie and for another process with its pid."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 0.01 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def signal_group(self, number: signal.Signals) -> None:
        """Send the signal `number` to the process group; does nothing when the process has ended."""
        if self.is_alive():
            os.killpg(self.pid, number)  # spawn() made it a group leader


def spawn(
    module: str, arguments: Iterable[str], *, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `python -m module arguments` in its own session, with its output appended to `log`.

    Output goes to a file, because a pipe that nobody reads fills up and blocks the job.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            # -P: a folder named `pipeline` in the working directory must not shadow ours.
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, "PYTHONPATH": python_path(environment), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )


def identify(pid: int) -> ProcessId:
    """The identity of a process that was just started; if it has already ended, one that is never alive."""
    try:
        return ProcessId(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return ProcessId(pid, 0.0)
