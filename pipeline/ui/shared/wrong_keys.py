"""Limits wrong owner keys: a growing delay per address, a limit over all addresses, and few lines in the audit log.

The delay limits work and log lines. The length of the key protects it, not the delay: see `Access.unlock`.
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
"""An address without a wrong key for this long after its delay starts again at the first delay."""
MAX_ADDRESSES = 1_024
MAX_TRIES_PER_MINUTE = 60
"""Over all addresses, without keys from an address under delay."""
MAX_LINES_PER_HOUR = 60
"""Two full log files cover a month of attacks from any number of addresses: nobody can push out the owner's lines."""


@dataclass
class Window:
    """At most `limit` events in each window of `seconds`."""

    limit: int
    seconds: float
    ends: float = float("-inf")
    used: int = 0

    def take(self, moment: float) -> bool:
        """Count one more event. False when it exceeds the limit. `moment`: monotonic seconds."""
        if moment >= self.ends:
            self.ends, self.used = moment + self.seconds, 0
        self.used += 1
        return self.used <= self.limit


@dataclass(frozen=True)
class Delay:
    """The delay of one address, and when it ends in monotonic seconds."""

    seconds: float
    until: float


class WrongKeys:
    """Counts wrong keys. `clock` returns monotonic seconds."""

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
        """Count a wrong key from `address`. Returns the seconds to wait if it came too early, else 0."""
        moment = self._clock()
        with self._lock:
            self._since = self._since or now()
            self._unlogged += 1
            self._last_address = address
            delay = self._delays.get(address)
            if delay and moment < delay.until:
                return delay.until - moment
            if not self._tries.take(moment):
                return self._tries.ends - moment
            self._lengthen(address, delay, moment)
            if self._lines.take(moment):
                self._write()
        return 0.0

    def forget(self, address: str) -> None:
        """End the delay of `address`, which sent the right key."""
        with self._lock:
            self._delays.pop(address, None)

    def flush(self) -> None:
        """Log the wrong keys counted since the last line, so that they precede the owner's next line."""
        with self._lock:
            if self._unlogged:
                self._write()

    def _lengthen(self, address: str, previous: Delay | None, moment: float) -> None:
        is_recent = previous is not None and moment < previous.until + FORGET_SECONDS
        seconds = min(2 * previous.seconds, MAX_DELAY_SECONDS) if previous and is_recent else FIRST_DELAY_SECONDS
        self._delays[address] = Delay(seconds, moment + seconds)
        self._delays.move_to_end(address)
        if len(self._delays) > MAX_ADDRESSES:
            self._delays.popitem(last=False)

    def _write(self) -> None:
        """One line for all wrong keys since the last line, with the address of the newest."""
        self._audit.write("wrong key", address=self._last_address, count=self._unlogged, since=self._since)
        self._unlogged, self._since = 0, ""
