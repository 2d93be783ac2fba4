from __future__ import annotations

from dataclasses import dataclass

from pipeline.generation.seats import fitting, in_order


@dataclass(frozen=True)
class Open:
    name: str
    num_texts: int = 1


def names(written: dict[str, int], **visitors: list[Open]) -> list[str]:
    return [request.name for request in in_order(visitors, written)]


def test_first_requests_of_all_visitors_come_before_second_requests() -> None:
    a, b, c = [Open("a1"), Open("a2"), Open("a3")], [Open("b1"), Open("b2")], [Open("c1")]
    assert names({}, a=a, b=b, c=c) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_whoever_has_got_the_least_comes_first() -> None:
    assert names({"a": 9, "b": 2}, a=[Open("a1")], b=[Open("b1"), Open("b2")]) == ["b1", "b2", "a1"]


def test_a_request_of_four_samples_counts_as_four() -> None:
    assert names({}, a=[Open("a1", 4), Open("a2")], b=[Open("b1"), Open("b2")]) == ["a1", "b1", "b2", "a2"]


def test_only_as_many_texts_as_fit_and_always_one_request() -> None:
    assert fitting([Open("a", 4), Open("b", 4), Open("c")], 8) == [Open("a", 4), Open("b", 4)]
    assert fitting([Open("a", 20), Open("b")], 8) == [Open("a", 20)]
    assert fitting([], 8) == []
