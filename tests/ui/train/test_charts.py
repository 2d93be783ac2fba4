"""Tables of the line plots: few points, extremes kept, every series named in the first table."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ui.train import charts

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
def test_no_chart_draws_more_than_the_maximum_of_points(chart: charts.Chart) -> None:
    frame = charts.frame(chart, rows(5_000))
    assert frame is not None
    assert frame.groupby("series").size().max() <= charts.MAX_POINTS + 1


def test_there_is_nothing_to_draw_before_the_first_row() -> None:
    assert all(charts.frame(chart, []) is None for chart in charts.CHARTS)


def test_both_series_are_named_from_the_first_frame_on() -> None:
    frame = charts.frame(LOSS, [{"step": 0, "eval_loss": 8.3}])
    assert frame is not None
    assert set(frame["series"]) == {"train", "validation"}
    assert frame[frame["series"] == "train"]["loss"].isna().all()


def test_what_was_not_measured_is_not_drawn() -> None:
    frame = charts.frame(LOSS, [{"step": 0, "eval_loss": 8.0}, {"step": 10, "train_loss": None}, {"step": 20}])
    assert frame is not None
    assert len(frame.dropna()) == 1


def test_perplexity_is_exp_of_the_loss() -> None:
    frame = charts.frame(PERPLEXITY, [{"step": 5, "train_loss": 2.0}])
    assert frame is not None
    assert frame.dropna()["perplexity"].tolist() == [pytest.approx(math.exp(2.0), rel=1e-4)]


def test_perplexities_far_above_the_lowest_are_left_out_and_the_ceiling_is_reported() -> None:
    metrics = [{"step": 0, "eval_loss": math.log(4_096)}, {"step": 100, "eval_loss": math.log(100)}]
    frame = charts.frame(PERPLEXITY, metrics)
    assert frame is not None
    assert frame.dropna()["step"].tolist() == [100]
    assert charts.ceiling(metrics) == pytest.approx(1_200)
    assert charts.ceiling(metrics[:1]) is None


def test_a_loss_that_exploded_does_not_break_the_chart() -> None:
    frame = charts.frame(PERPLEXITY, [{"step": 1, "train_loss": 1e6}, {"step": 2, "train_loss": 3.0}])
    assert frame is not None
    assert frame.dropna()["step"].tolist() == [2]
