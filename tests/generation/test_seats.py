from __future__ import annotations

from dataclasses import dataclass

from pipeline.generation.seats import in_order


@dataclass(frozen=True)
class Open:
    name: str
    is_started: bool = False


def names(*visitors: list[Open]) -> list[str]:
    return [request.name for request in in_order(visitors)]


def test_first_requests_of_all_visitors_come_before_second_requests() -> None:
    assert names([Open("a1"), Open("a2"), Open("a3")], [Open("b1"), Open("b2")], [Open("c1")]) == [
        "a1",
        "b1",
        "c1",
        "a2",
        "b2",
        "a3",
    ]


def test_a_started_second_request_comes_before_the_other_second_requests() -> None:
    assert names([Open("a1"), Open("a2")], [Open("b1"), Open("b2", is_started=True)]) == ["a1", "b1", "b2", "a2"]


def test_a_started_second_request_comes_after_every_first_request() -> None:
    assert names([Open("a1", True), Open("a2", True)], [Open("b1")]) == ["a1", "b1", "a2"]
