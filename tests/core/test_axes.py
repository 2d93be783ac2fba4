"""Ranges, ticks and labels of axes: round numbers, every value inside, for any finite values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import axes
from pipeline.core.axes import Axis

FINITE = st.lists(st.floats(-axes.LARGEST, axes.LARGEST), min_size=1, max_size=20)
FAR_APART = st.lists(st.floats(-600, 700).map(math.exp), min_size=1, max_size=20)
NEAR = st.builds(lambda low, ratio: [low, low * ratio], st.floats(-600, 600).map(math.exp), st.floats(1, 20))


def labels(axis: Axis) -> list[str]:
    return [label for _, label in axis.ticks]


def check(axis: Axis, values: list[float]) -> None:
    """All values and ticks are within the axis, its ticks rise, and their labels differ."""
    ticks = [tick for tick, _ in axis.ticks]
    assert axis.low < axis.high
    assert all(-1e-9 <= axis.share(value) <= 1 + 1e-9 for value in [*values, *ticks])
    assert ticks == sorted(set(ticks))
    assert len(set(labels(axis))) == len(ticks)


@given(FINITE)
def test_a_linear_axis_contains_every_value_and_has_few_ticks(values: list[float]) -> None:
    for axis in (axes.linear(values), axes.from_zero(values)):
        check(axis, values)
        assert len(axis.ticks) <= 9


@given(FAR_APART | NEAR)
def test_a_logarithmic_axis_contains_every_value_and_has_few_ticks(values: list[float]) -> None:
    axis = axes.logarithmic(values)
    check(axis, values)
    assert axis.low > 0
    assert 2 <= len(axis.ticks) <= axes.MAX_LOG_TICKS


@given(st.integers(0, 10**12))
def test_the_axis_of_steps_starts_at_zero_ends_at_the_last_step_and_has_whole_ticks(last: int) -> None:
    axis = axes.steps(last)
    check(axis, [0, last])
    assert (axis.low, axis.high) == (0, max(last, 1))
    assert all(float(tick).is_integer() for tick, _ in axis.ticks)
    assert len(axis.ticks) <= 9


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([4.1, 8.3], ["4", "5", "6", "7", "8", "9"]),
        ([4.1234, 4.1239], ["4.1234", "4.1235", "4.1236", "4.1237", "4.1238", "4.1239"]),
        ([8.2, 8.3], ["8.20", "8.22", "8.24", "8.26", "8.28", "8.30"]),
        ([-3, 2], ["-3", "-2", "-1", "0", "1", "2"]),
        ([1e6, 0], ["0", "200k", "400k", "600k", "800k", "1M"]),
        ([3_000_000, 9_000_000], ["2M", "4M", "6M", "8M", "10M"]),
    ],
)
def test_ticks_of_a_linear_axis_are_steps_of_1_2_or_5(values: list[float], expected: list[str]) -> None:
    assert labels(axes.linear(values)) == expected


@pytest.mark.parametrize("value", [8.3, 0.0, -2.0, 1e-300, 1e304])
def test_a_single_value_is_inside_its_axis(value: float) -> None:
    axis = axes.linear([value])
    assert 0.2 < axis.share(value) < 0.8


def test_values_that_differ_by_rounding_errors_are_one_value() -> None:
    values = [8.3, math.nextafter(8.3, 9)]
    check(axes.linear(values), values)
    assert labels(axes.linear(values)) == labels(axes.linear([8.3]))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2e-3, 1e-4], ["0", "5e-4", "1e-3", "1.5e-3", "2e-3"]),
        ([0.02], ["0", "0.005", "0.010", "0.015", "0.020"]),
        ([11_800], ["0", "2k", "4k", "6k", "8k", "10k", "12k"]),
        ([0, 0], ["0"]),
    ],
)
def test_rate_and_speed_are_drawn_from_zero(values: list[float], expected: list[str]) -> None:
    axis = axes.from_zero(values)
    assert axis.low == 0
    assert labels(axis) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([20, 4_000], ["20", "50", "100", "200", "500", "1k", "2k", "5k"]),
        ([100, 1_000], ["100", "200", "500", "1k"]),
        ([20, 60_000], ["10", "100", "1k", "10k", "100k"]),
        ([1, 1e12], ["1", "100", "10k", "1M", "100M", "10G", "1T"]),
        ([20, math.exp(700)], ["1e100", "1e200", "1e300"]),
        ([20.5, 21.4], ["20.4", "20.6", "20.8", "21.0", "21.2", "21.4"]),
    ],
)
def test_a_logarithmic_axis_has_decades_and_2_and_5_within_when_they_are_few(
    values: list[float], expected: list[str]
) -> None:
    assert labels(axes.logarithmic(values)) == expected


def test_equal_ratios_are_equally_far_on_a_logarithmic_axis() -> None:
    axis = axes.logarithmic([10, 1_000])
    assert [axis.share(value) for value in (10, 100, 1_000)] == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (0, ["0", "1"]),
        (3, ["0", "1", "2", "3"]),
        (1_234, ["0", "200", "400", "600", "800", "1k", "1.2k"]),
        (3_000_000, ["0", "500k", "1M", "1.5M", "2M", "2.5M", "3M"]),
    ],
)
def test_the_axis_of_steps_has_short_labels(last: int, expected: list[str]) -> None:
    assert labels(axes.steps(last)) == expected
