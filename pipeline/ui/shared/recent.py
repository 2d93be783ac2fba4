"""Caches for half a second what all pages are shown alike, so that it is read and rendered once for all."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

Found = TypeVar("Found")

FRESH_SECONDS = 0.5
MAX_ENTRIES = 64


@dataclass
class _Entry:
    made_at: float = float("-inf")
    found: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Recent:
    """Results by key. Thread-safe: of concurrent calls with the same key, one makes the result and the others wait."""

    def __init__(self, fresh_seconds: float | None = None) -> None:
        self._fresh_seconds = FRESH_SECONDS if fresh_seconds is None else fresh_seconds
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def of(self, key: Hashable, make: Callable[[], Found], *, fresh: bool = False) -> Found:
        """The result of `make` for `key`, at most `fresh_seconds` old, or made now. An error of `make` is not cached."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > MAX_ENTRIES:
                self._entries.popitem(last=False)
        with entry.lock:
            if fresh or time.monotonic() - entry.made_at >= self._fresh_seconds:
                entry.found = make()
                entry.made_at = time.monotonic()
            return entry.found

    def known(self, key: Hashable) -> Any:
        """The result for `key` that `of` would return without making it; None without one."""
        entry = self._entries.get(key)
        return entry.found if entry and time.monotonic() - entry.made_at < self._fresh_seconds else None
