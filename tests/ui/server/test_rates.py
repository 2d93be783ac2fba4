"""A visitor has a share of the requests; a cookie narrows it and never widens it."""

from __future__ import annotations

import pytest

from pipeline.ui.server import rates
from pipeline.ui.server.rates import Rate, Rates
from pipeline.ui.shared.visitors import Visitor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(rates.time, "monotonic", lambda: now[0])
    return now


def taken(counts: Rates, visitor: Visitor, tries: int = 1_000, cost: float = 1) -> int:
    return sum(counts.take(visitor, cost) for _ in range(tries))


def test_a_visitor_gets_what_is_there_and_then_so_many_a_second(clock: list[float]) -> None:
    counts = Rates(Rate(10, 5))
    assert taken(counts, Visitor("1.1.1.1", "")) == 10
    clock[0] += 1
    assert taken(counts, Visitor("1.1.1.1", "")) == 5
    assert taken(counts, Visitor("2.2.2.2", "")) == 10


def test_cookies_that_are_thrown_away_gain_nothing(clock: list[float]) -> None:
    counts = Rates(Rate(10, 0), Rate(4, 0))
    assert taken(counts, Visitor("1.1.1.1", "a")) == 4
    assert [taken(counts, Visitor("1.1.1.1", cookie), 3) for cookie in "bcdefg"] == [3, 3, 0, 0, 0, 0]


def test_what_costs_more_counts_more(clock: list[float]) -> None:
    assert taken(Rates(Rate(10, 0)), Visitor("1.1.1.1", ""), cost=4) == 2


def test_a_million_addresses_take_no_memory(clock: list[float]) -> None:
    counts = Rates()
    for number in range(3 * rates.MOST_KNOWN):
        counts.take(Visitor(str(number), ""))
    assert len(counts._left) == rates.MOST_KNOWN
