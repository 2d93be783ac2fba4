"""The request limit of a visitor; a cookie lowers it and never raises it."""

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


def test_a_visitor_gets_a_burst_and_then_a_steady_rate(clock: list[float]) -> None:
    counts = Rates(Rate(10, 5))
    assert taken(counts, Visitor("1.1.1.1", "")) == 10
    clock[0] += 1
    assert taken(counts, Visitor("1.1.1.1", "")) == 5
    assert taken(counts, Visitor("2.2.2.2", "")) == 10


def test_new_cookies_do_not_raise_the_limit(clock: list[float]) -> None:
    counts = Rates(Rate(10, 0), Rate(4, 0))
    assert taken(counts, Visitor("1.1.1.1", "a")) == 4
    assert [taken(counts, Visitor("1.1.1.1", cookie), 3) for cookie in "bcdefg"] == [3, 3, 0, 0, 0, 0]


def test_a_higher_cost_counts_more(clock: list[float]) -> None:
    assert taken(Rates(Rate(10, 0)), Visitor("1.1.1.1", ""), cost=4) == 2


def test_the_number_of_buckets_is_bounded(clock: list[float]) -> None:
    counts = Rates()
    for number in range(3 * rates.MAX_KNOWN):
        counts.take(Visitor(str(number), ""))
    assert len(counts._buckets) == rates.MAX_KNOWN
