"""How many requests a visitor may make: as many at once as a page that opens, and then so many a second."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from pipeline.core.settings import Settings
from pipeline.ui.shared.access import Access
from pipeline.ui.shared.visitors import Visitor, visitor_of

MOST_KNOWN = 4_096
"""Visitors that are counted; whoever asked longest ago is forgotten."""


@dataclass(frozen=True)
class Rate:
    """A bucket that holds `most` requests and is filled with `per_second`."""

    most: float
    per_second: float


OF_ADDRESS = Rate(2_000, 200)
"""A class behind one address: thirty pages that open at once, which cost about 60 each, and a hundred that stay open."""
OF_COOKIE = Rate(400, 40)


class Rates:
    """Counts requests of visitors, by address and, narrower, by cookie."""

    def __init__(self, of_address: Rate = OF_ADDRESS, of_cookie: Rate = OF_COOKIE) -> None:
        self._of_address = of_address
        self._of_cookie = of_cookie
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        """What is left in a bucket, and when that was."""

    def take(self, visitor: Visitor, cost: float = 1) -> bool:
        """Count a request. False when the visitor has used up what there is; it costs nothing then."""
        if cost <= 0:
            return True
        now = time.monotonic()
        buckets = [((visitor.address, ""), self._of_address)]
        if visitor.cookie:
            buckets.append(((visitor.address, visitor.cookie), self._of_cookie))
        left = [(key, self._filled(key, rate, now)) for key, rate in buckets]
        if any(found < cost for _, found in left):
            return False
        for key, found in left:
            self._left[key] = found - cost, now
            self._left.move_to_end(key)
        while len(self._left) > MOST_KNOWN:
            self._left.popitem(last=False)
        return True

    def _filled(self, key: tuple[str, str], rate: Rate, now: float) -> float:
        left, since = self._left.get(key, (rate.most, now))
        return min(rate.most, left + (now - since) * rate.per_second)


class Allowance:
    """What requests may cost. Nothing is counted for the owner: a flooder behind the owner's address must not keep the owner
    out.
    """

    def __init__(self, settings: Settings, access: Access, rates: Rates | None = None) -> None:
        self._settings = settings
        self._access = access
        self._rates = rates or Rates()

    def is_owner(self, asked: HTTPConnection) -> bool:
        return bool(self._access.of(asked).known_by)

    def take(self, asked: HTTPConnection, cost: float) -> bool:
        """Count a request. False when its visitor has used up what there is."""
        return self.is_owner(asked) or self._rates.take(visitor_of(asked, self._settings), cost)
