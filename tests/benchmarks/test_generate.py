"""The benchmark of writing runs both sides, and its checks can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.generate import CROWD, GOALS, VISITORS, checks_of, equal_texts, measure, opened, same_in_company
from tests.generation.models import tiny_model, tiny_tokenizer


@pytest.mark.slow
def test_both_sides_write_the_same_text_and_every_figure_is_there(tmp_path: Path) -> None:
    with opened(tmp_path, tiny_model(n_positions=256), tiny_tokenizer()) as sides:
        found = measure(sides, 1)
        assert equal_texts(sides)
        same = same_in_company(sides, tmp_path, CROWD)
        assert (same["value"], same["ok"]) == (1.0, True)
        assert all(text for _, _, text in (sides.ours(sides.exact), sides.ours(sides.int8)))
        asked = next(sides.seeds)
        assert asked > 2 * VISITORS, "no request is the same as one before, whose answer would be a kept one"
    assert found.keys() == {*GOALS, "first token, int8", "first token, exact float32"}
    assert all(value > 0 for value in found.values())


def test_a_goal_that_is_missed_is_no_success() -> None:
    found = {**{name: goal * 1.1 for name, goal in GOALS.items()}, "first token, int8": 0.1}
    assert all(check["ok"] and check["ratio"] <= 1 for check in checks_of(found, 1.0))
    for name, value in found.items():
        missed = {**found, name: value * (2 if name.startswith("first") else 0.5)}
        assert [check["name"] for check in checks_of(missed, 1.0) if not check["ok"]] == [name]
    assert not checks_of(found, 1.02)[-1]["ok"]
