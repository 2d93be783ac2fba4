"""A value derived from a file or folder, derived again only when that has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")
Stamp = tuple[int, int, int]

SETTLING_NS = 100_000_000
"""Two changes this close may leave the same modification time: until then nothing is taken from memory."""


class Cached(Generic[Value]):
    """Several processes may change `path`; threads of this one read one after the other."""

    def __init__(self, path: Path, derive: Callable[[], Value]) -> None:
        self._path = path
        self._derive = derive
        self._lock = Lock()
        self._known: tuple[Stamp, Value] | None = None

    def get(self) -> Value:
        with self._lock:
            stamp = self._stamp()
            if stamp is not None and self._known is not None and self._known[0] == stamp:
                return self._known[1]
            value = self._derive()
            self._known = None if stamp is None else (stamp, value)
            return value

    def _stamp(self) -> Stamp | None:
        """What changes with the path; None when it is not there or has just changed. Taken before the value is derived, so
        that a change in between is seen the next time.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        is_settled = abs(time.time_ns() - stat.st_mtime_ns) > SETTLING_NS
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if is_settled else None
