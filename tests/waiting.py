"""Waits for a condition that another process or thread makes true."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil


def eventually(holds: Callable[[], object], what: str = "the condition", seconds: float = 300.0) -> None:
    """Poll until `holds()` is true; on timeout, fails with `what`. Long, because a loaded machine is slow."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, even if its parent has not asked for its exit status."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
