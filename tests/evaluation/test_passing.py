from __future__ import annotations

import itertools

import pytest

from pipeline.evaluation.passing import mean_share, pass_at


@pytest.mark.parametrize(("num_samples", "num_right", "k"), [(5, 0, 1), (5, 2, 1), (5, 2, 3), (6, 1, 6), (4, 4, 2)])
def test_pass_at_k_is_the_share_of_all_choices_of_k_with_a_right_one(num_samples: int, num_right: int, k: int) -> None:
    choices = list(itertools.combinations(range(num_samples), k))
    expected = sum(any(sample < num_right for sample in choice) for choice in choices) / len(choices)
    assert pass_at(k, num_samples, num_right) == pytest.approx(expected)


def test_the_interval_holds_the_mean_and_is_narrower_with_more_tasks() -> None:
    few, many = mean_share([0.0, 1.0] * 10), mean_share([0.0, 1.0] * 1000)
    for share in (few, many):
        assert share.low < share.value == 0.5 < share.high
    assert many.high - many.low < 0.2 * (few.high - few.low)
    assert few.high - few.low == pytest.approx(2 * 1.96 * (0.25 / 20) ** 0.5, rel=0.15), "as the normal approximation"
    assert mean_share([0.25]).low == mean_share([0.25]).high == 0.25
    assert mean_share([0.0, 1.0] * 10) == few, "the same each time"
