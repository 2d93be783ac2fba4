"""The order in which open requests get a seat, one of the generation slots. Does not depend on threads or models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

SEATS = 8
"""Max requests that are generated concurrently, in turns. Each has its own key/value cache in memory."""


class Started(Protocol):
    @property
    def is_started(self) -> bool: ...


Open = TypeVar("Open", bound=Started)


def in_order(visitors: Iterable[Sequence[Open]]) -> list[Open]:
    """The requests of all visitors in order of priority; `visitors` has each visitor's requests, oldest first.

    Every visitor's first request comes first, so that nobody gets a second seat while another visitor has none. Within
    the first requests, and within the others, started ones come first: so the number of started but paused requests is
    bounded by the seats.
    """
    ranked = [
        (rank > 0, not request.is_started, rank, visitor_index, request)
        for visitor_index, requests in enumerate(visitors)
        for rank, request in enumerate(requests)
    ]
    return [request for *_, request in sorted(ranked, key=lambda entry: entry[:-1])]
