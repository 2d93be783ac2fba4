"""In which order open requests may be written. Knows nothing of threads or models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

SEATS = 8
"""Requests that are written at once, in turns; each holds its own keys and values in memory."""


class Started(Protocol):
    @property
    def is_started(self) -> bool: ...


Open = TypeVar("Open", bound=Started)


def in_order(visitors: Iterable[Sequence[Open]]) -> list[Open]:
    """The requests of all visitors, each visitor's own in the order they came.

    First every visitor's first, so that nobody has a second seat while others have none. Of the others those that were
    begun come first: what was begun and paused is bounded by the seats.
    """
    ranked = [
        (rank > 0, not request.is_started, rank, place, request)
        for place, requests in enumerate(visitors)
        for rank, request in enumerate(requests)
    ]
    return [request for *_, request in sorted(ranked, key=lambda entry: entry[:-1])]
