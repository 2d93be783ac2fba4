"""Caches a value that is derived from a file or folder until that path changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")
Stamp = tuple[int, int, int]

SETTLING_NS = 100_000_000
"""Two changes closer than this may get the same modification time, so a path modified within it is not cached."""


class Cached(Generic[Value]):
    """Other processes may change `path`. Threads of this process read under a lock, one at a time."""

    def __init__(self, path: Path, derive: Callable[[], Value]) -> None:
        self._path = path
        self._derive = derive
        self._lock = Lock()
        self._cached: tuple[Stamp, Value] | None = None

    def get(self) -> Value:
        with self._lock:
            stamp = self._stamp()
            if stamp is not None and self._cached is not None and self._cached[0] == stamp:
                return self._cached[1]
            value = self._derive()
            self._cached = None if stamp is None else (stamp, value)
            return value

    def _stamp(self) -> Stamp | None:
        """Modification time (ns), size (bytes) and inode of the path; None when it does not exist or has just changed.
        Must be read before the value is derived, so that the next call detects a change in between.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        is_settled = abs(time.time_ns() - stat.st_mtime_ns) > SETTLING_NS
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if is_settled else None
