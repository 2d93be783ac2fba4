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

from pipeline.core.environment import python_path


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


def spawn(
    module: str, arguments: Iterable[str], *, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `python -m module arguments` in a session of its own, its output appended to `log`.

    Output goes to a file because a pipe that nobody reads fills up and freezes the job.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            # -P: a folder named `pipeline` where the caller stands must not be taken for ours.
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, "PYTHONPATH": python_path(environment), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )


def identify(pid: int) -> ProcessId:
    """The identity of a process that was just started; if it has ended already, one that is never alive."""
    try:
        return ProcessId(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return ProcessId(pid, 0.0)
