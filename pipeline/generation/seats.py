"""Who writes in the next step, when not all can. Does not depend on threads or models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

MAX_BATCH_TEXTS = 16
"""Max texts that a step writes a token of. With more, each token of each text takes longer."""
MAX_BEGUN_TEXTS = 32
"""With as many begun and not done, only a visitor who has none begun may start another request."""


class HasTexts(Protocol):
    @property
    def num_texts(self) -> int: ...


Open = TypeVar("Open", bound=HasTexts)


def in_order(visitors: Mapping[str, Sequence[Open]], written: Mapping[str, int]) -> list[Open]:
    """The requests of all visitors in order of priority. `visitors`: each visitor's requests, oldest first; `written`: how
    many tokens were written for each.

    Whoever has got the least comes first, so five requests of one visitor together get as much as one of another.
    """
    got = Counter(written)
    left = {visitor: list(requests) for visitor, requests in visitors.items()}
    order = []
    while left:
        visitor = min(left, key=lambda name: got[name])
        request = left[visitor].pop(0)
        order.append(request)
        got[visitor] += request.num_texts
        if not left[visitor]:
            del left[visitor]
    return order


def fitting(requests: Sequence[Open], limit: int) -> list[Open]:
    """The first of these requests whose texts together are within the limit; always at least one."""
    fit: list[Open] = []
    total = 0
    for request in requests:
        if fit and total + request.num_texts > limit:
            break
        total += request.num_texts
        fit.append(request)
    return fit
