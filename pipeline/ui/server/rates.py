"""Limits the request rate of visitors with token buckets: a burst, as when a page opens, then a steady rate."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from pipeline.core.settings import Settings
from pipeline.ui.shared.access import Access
from pipeline.ui.shared.visitors import Visitor, visitor_of

MAX_KNOWN = 4_096
"""Buckets that are kept; the least recently used one is dropped first."""


@dataclass(frozen=True)
class Rate:
    """A token bucket of `capacity` requests, refilled with `per_second` requests a second."""

    capacity: float
    per_second: float


OF_ADDRESS = Rate(2_000, 200)
"""A class behind one address: 30 pages that open at once, at a cost of about 60 each, and 100 that stay open."""
OF_COOKIE = Rate(400, 40)


class Rates:
    """Counts requests per address and, with a smaller limit, per cookie."""

    def __init__(self, of_address: Rate = OF_ADDRESS, of_cookie: Rate = OF_COOKIE) -> None:
        self._of_address = of_address
        self._of_cookie = of_cookie
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        """Requests left in each bucket, and the time of that value in monotonic seconds."""

    def take(self, visitor: Visitor, cost: float = 1) -> bool:
        """Count a request. False when the visitor's limit is reached; the request is then not counted."""
        if cost <= 0:
            return True
        now = time.monotonic()
        buckets = [((visitor.address, ""), self._of_address)]
        if visitor.cookie:
            buckets.append(((visitor.address, visitor.cookie), self._of_cookie))
        available = [(key, self._available(key, rate, now)) for key, rate in buckets]
        if any(left < cost for _, left in available):
            return False
        for key, left in available:
            self._buckets[key] = left - cost, now
            self._buckets.move_to_end(key)
        while len(self._buckets) > MAX_KNOWN:
            self._buckets.popitem(last=False)
        return True

    def _available(self, key: tuple[str, str], rate: Rate, now: float) -> float:
        left, since = self._buckets.get(key, (rate.capacity, now))
        return min(rate.capacity, left + (now - since) * rate.per_second)


class Allowance:
    """Rate limits for requests. The owner's are not counted: a flood from the same address must not block the owner."""

    def __init__(self, settings: Settings, access: Access, rates: Rates | None = None) -> None:
        self._settings = settings
        self._access = access
        self._rates = rates or Rates()

    def is_owner(self, asked: HTTPConnection) -> bool:
        return bool(self._access.of(asked).known_by)

    def take(self, asked: HTTPConnection, cost: float) -> bool:
        """Count a request. False when its visitor's limit is reached."""
        return self.is_owner(asked) or self._rates.take(visitor_of(asked, self._settings), cost)
