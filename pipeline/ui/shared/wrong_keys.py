"""Wrong owner keys: a growing delay per address, a limit over all addresses, and few lines in the audit log.

The delay limits work and log lines. It does not protect the key, whose length does: see `Access.unlock`.
All tables are bounded, so a million wrong keys take no more memory than a thousand.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from pipeline.ui.shared.audit import Audit, now

FIRST_DELAY_SECONDS = 1.0
MAX_DELAY_SECONDS = 900.0
FORGET_SECONDS = 3_600.0
"""An address without a wrong key for so long after its delay starts again at the first delay."""
MAX_ADDRESSES = 1_024
MAX_TRIES_PER_MINUTE = 60
"""Over all addresses, those under delay not counted."""
MAX_LINES_PER_HOUR = 60
"""Two full logs then hold a month of attacks from any number of addresses: nobody can push the owner's lines out."""


@dataclass
class Window:
    """At most `limit` events in each window of `seconds`."""

    limit: int
    seconds: float
    ends: float = float("-inf")
    used: int = 0

    def take(self, moment: float) -> bool:
        """Whether one more event fits; if so it is counted."""
        if moment >= self.ends:
            self.ends, self.used = moment + self.seconds, 0
        self.used += 1
        return self.used <= self.limit


@dataclass(frozen=True)
class Delay:
    """What one address has to wait for."""

    seconds: float
    until: float


class WrongKeys:
    """Counts wrong keys. `clock` gives seconds that only grow."""

    def __init__(self, audit: Audit, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._lock = Lock()
        self._delays: OrderedDict[str, Delay] = OrderedDict()
        self._tries = Window(MAX_TRIES_PER_MINUTE, 60.0)
        self._lines = Window(MAX_LINES_PER_HOUR, 3_600.0)
        self._unlogged = 0
        self._since = ""
        self._last_address = ""

    def add(self, address: str) -> float:
        """Count a wrong key from `address`. Seconds until its next one is looked at if this came too early, else 0."""
        moment = self._clock()
        with self._lock:
            self._since = self._since or now()
            self._unlogged += 1
            self._last_address = address
            known = self._delays.get(address)
            if known and moment < known.until:
                return known.until - moment
            if not self._tries.take(moment):
                return self._tries.ends - moment
            self._lengthen(address, known, moment)
            if self._lines.take(moment):
                self._write()
        return 0.0

    def forget(self, address: str) -> None:
        """The right key came from `address`."""
        with self._lock:
            self._delays.pop(address, None)

    def flush(self) -> None:
        """Write what is counted and not logged yet, so that the log is in order before a line of the owner's."""
        with self._lock:
            if self._unlogged:
                self._write()

    def _lengthen(self, address: str, known: Delay | None, moment: float) -> None:
        is_fresh = known is not None and moment < known.until + FORGET_SECONDS
        seconds = min(2 * known.seconds, MAX_DELAY_SECONDS) if known and is_fresh else FIRST_DELAY_SECONDS
        self._delays[address] = Delay(seconds, moment + seconds)
        self._delays.move_to_end(address)
        if len(self._delays) > MAX_ADDRESSES:
            self._delays.popitem(last=False)

    def _write(self) -> None:
        """One line for all wrong keys since the last one; the address is that of the newest."""
        self._audit.write("wrong key", address=self._last_address, count=self._unlogged, since=self._since)
        self._unlogged, self._since = 0, ""
