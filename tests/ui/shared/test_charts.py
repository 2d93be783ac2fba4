"""Charts: few points, extremes kept, no value breaks them, and every point is where its step and value say."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ui.shared import charts
from pipeline.ui.shared.charts import Chart

POINTS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3_000).map(lambda values: list(enumerate(values)))
LOSS, PERPLEXITY, RATE, SPEED = charts.CHARTS


def rows(num: int, every: int = 10) -> list[dict[str, float]]:
    out: list[dict[str, float]] = []
    for step in range(num):
        row: dict[str, float] = {"step": step, "learning_rate": 1e-3, "tokens_per_second": 2_900.0}
        if step:
            row["train_loss"] = 8.0 - 4 * step / num
        if step % every == 0:
            row["eval_loss"] = 8.0 - 4 * step / num
        out.append(row)
    return out


@given(POINTS)
def test_thinning_keeps_the_extremes_and_both_ends_and_invents_nothing(points: charts.Points) -> None:
    thinned = charts.thin(points)
    assert len(thinned) <= charts.MAX_POINTS
    assert set(thinned) <= set(points)
    assert thinned == sorted(thinned)
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])
    values = [value for _, value in points]
    assert {min(values), max(values)} <= {value for _, value in thinned}


def test_a_short_series_is_left_as_it_is() -> None:
    points = [(step, float(step)) for step in range(charts.MAX_POINTS)]
    assert charts.thin(points) == points


@pytest.mark.parametrize("chart", charts.CHARTS, ids=lambda chart: chart.name)
def test_no_line_has_more_than_the_maximum_of_points_and_all_are_inside_the_svg(chart: Chart) -> None:
    drawn = charts.drawing(chart, rows(5_000))
    assert all(1 < len(line.vertices) <= charts.MAX_POINTS for line in drawn.lines)
    for line in drawn.lines:
        assert len(line.vertices) == len(line.steps) == len(line.texts)
        assert all(0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT for x, y in line.vertices)


@pytest.mark.parametrize("chart", charts.CHARTS, ids=lambda chart: chart.name)
def test_a_chart_without_values_says_so_and_has_its_series_in_the_head(chart: Chart) -> None:
    for metrics in ([], [{"step": 3, "other": 1.0}]):
        drawn = charts.drawing(chart, metrics)
        assert (drawn.across, drawn.up, drawn.last_step) == ((), (), None)
        assert "Starts with the first step" in charts.plot(drawn)
        assert "no values yet" in charts.plot(drawn)
        assert charts.head(drawn).count("–") == len(chart.series)


def test_one_validation_is_a_dot_and_two_are_a_line() -> None:
    metrics = [{"step": 0, "eval_loss": 8.3}, {"step": 10, "train_loss": 8.0, "eval_loss": 7.9}]
    train, validation = charts.drawing(LOSS, metrics[:1]).lines
    assert (train.path, train.end) == ("", "")
    assert len(validation.vertices) == 1
    assert validation.end == f"M0 {validation.vertices[0][1]:g}h0"
    train, validation = charts.drawing(LOSS, metrics).lines
    assert len(train.vertices) == 1
    assert re.fullmatch(r"M0 \S+L400 \S+", validation.path)
    assert f'class="line val" d="{validation.path}"' in charts.plot(charts.drawing(LOSS, metrics))


def test_the_two_losses_of_a_step_are_at_the_same_x_and_the_higher_is_above() -> None:
    metrics = [{"step": 0, "train_loss": 8.0}, {"step": 10, "train_loss": 4.0, "eval_loss": 5.0}, {"step": 40}]
    train, validation = charts.drawing(LOSS, metrics).lines
    assert (train.vertices[1][0], validation.vertices[0][0]) == (100, 100)  # a quarter of 400
    assert train.vertices[0][1] < validation.vertices[0][1] < train.vertices[1][1]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, 1e306, 10**400])
def test_what_is_missing_not_finite_or_too_large_is_not_drawn(value: Any) -> None:
    metrics = [{"step": 0, "train_loss": 8.0}, {"step": 10, "train_loss": value}, {"step": 20, "train_loss": 7.0}]
    for chart in (LOSS, PERPLEXITY):
        train, validation = charts.drawing(chart, metrics).lines
        assert train.steps == (0, 20)
        assert validation.steps == ()


def test_only_values_that_cannot_be_drawn_are_none() -> None:
    assert charts.drawing(LOSS, [{"step": 1, "train_loss": math.nan}]).up == ()


def test_a_step_that_was_trained_again_has_its_last_value() -> None:
    values = ((10, 5.0), (30, 4.0), (10, 6.0), (20, 4.5), (30, 3.0))
    metrics = [{"step": step, "train_loss": value} for step, value in values]
    train, _ = charts.drawing(LOSS, metrics).lines
    assert train.steps == (10, 20, 30)
    assert train.texts == ("6.000", "4.500", "3.000")


def test_perplexity_is_exp_of_the_loss_on_a_logarithmic_axis() -> None:
    losses = [math.log(value) for value in (4_000, 400, 40)]
    drawn = charts.drawing(PERPLEXITY, [{"step": 10 * n, "eval_loss": loss} for n, loss in enumerate(losses)])
    validation = drawn.lines[1]
    assert validation.texts == ("4,000", "400", "40.0")
    heights = [y for _, y in validation.vertices]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.2)
    assert [label for _, label in drawn.up] == ["20", "50", "100", "200", "500", "1k", "2k", "5k"]


@pytest.mark.parametrize("loss", [1e6, 700.0, 1e300])
def test_a_loss_that_exploded_does_not_break_the_charts_and_its_value_stays_short(loss: float) -> None:
    metrics = [{"step": 1, "train_loss": 3.0}, {"step": 2, "train_loss": loss}]
    for chart in (LOSS, PERPLEXITY):
        train = charts.drawing(chart, metrics).lines[0]
        assert [y for _, y in train.vertices] == sorted((y for _, y in train.vertices), reverse=True)
        assert all(len(text) < 12 for text in train.texts)
    assert charts.drawing(PERPLEXITY, metrics).lines[0].texts == ("20.1", "1.0e+304")


def test_a_negative_loss_does_not_break_the_logarithmic_axis() -> None:
    metrics = [{"step": 1, "train_loss": -1e6}, {"step": 2, "train_loss": -1e5}, {"step": 3, "train_loss": 1.0}]
    assert charts.drawing(PERPLEXITY, metrics).lines[0].steps == (1, 2, 3)


def test_rate_and_speed_start_at_zero_and_the_losses_need_not() -> None:
    for chart in (RATE, SPEED):
        assert charts.drawing(chart, rows(100)).up[0] == (100.0, "0")
    assert charts.drawing(LOSS, rows(100)).up[0] == (100.0, "4")


def test_a_screen_reader_hears_the_series_and_their_newest_values() -> None:
    metrics = [{"step": 10, "train_loss": 5.0, "eval_loss": 5.25}, {"step": 1_200, "train_loss": 4.0}]
    assert 'aria-label="Loss up to step 1,200: train 4.000, validation 5.250"' in charts.plot(
        charts.drawing(LOSS, metrics)
    )


def test_the_head_shows_the_newest_value_of_each_series() -> None:
    metrics = [{"step": 0, "eval_loss": 6.3}, {"step": 30, "train_loss": 2.0, "tokens_per_second": 2_905.0}]
    assert charts.drawing(LOSS, metrics).newest == [("train", "2.000"), ("val", "6.300")]
    assert charts.drawing(PERPLEXITY, metrics).newest == [("train", "7.39"), ("val", "545")]
    assert charts.drawing(SPEED, metrics).newest == [("speed", "2,905")]
    assert charts.drawing(RATE, metrics).newest == [("rate", "–")]
