"""Waits for a condition that another process or thread makes true."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(holds: Callable[[], object], what: str = "the condition", seconds: float = 90.0) -> None:
    """Poll until `holds()` is true; on timeout, fails with `what`. Long, because a loaded machine is slow."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)
