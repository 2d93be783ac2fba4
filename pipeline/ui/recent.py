"""What every visitor is shown alike, read from disk and rendered once for all who ask within half a second."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Found = TypeVar("Found")

FRESH_SECONDS = 0.5
MAX_ENTRIES = 64


class Recent:
    """Results by key. Thread-safe: of many who ask for the same at once, one makes it and the others wait."""

    def __init__(self, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._fresh_seconds = fresh_seconds
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        """When each was made, and what."""

    def of(self, key: Hashable, make: Callable[[], Found]) -> Found:
        """What `make` returned for `key`, not longer ago than `fresh_seconds`. An error of `make` is not kept."""
        with self._lock:
            made_at, found = self._entries.get(key, (float("-inf"), None))
            if time.monotonic() - made_at >= self._fresh_seconds:
                found = make()
                self._entries[key] = time.monotonic(), found
            self._entries.move_to_end(key)
            while len(self._entries) > MAX_ENTRIES:
                self._entries.popitem(last=False)
            return found
