"""Line plots of the metrics, and the tables that they draw.

Each change sends the whole table, which costs the browser half a millisecond per row: so at most 200 points per series.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

MAX_POINTS = 200
CEILING = 12
"""Perplexities above this multiple of the lowest are left out: the plot has no logarithmic axis, and the first values
would flatten the rest of the curve."""

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Chart:
    """One plot: its name, the format of its y axis, and the metrics columns it draws as series."""

    name: str
    axis_format: str
    series: tuple[tuple[str, str], ...]
    """Pairs of series name and metrics column."""


CHARTS = (
    Chart("loss", ".3~r", (("train", "train_loss"), ("validation", "eval_loss"))),
    Chart("perplexity", ",.3~r", (("train", "train_loss"), ("validation", "eval_loss"))),
    Chart("rate", ".1e", (("rate", "learning_rate"),)),
    Chart("speed", ",.3~r", (("speed", "tokens_per_second"),)),
)
COLOURS = {"train": "var(--series-train)", "validation": "var(--series-val)"}


def line_plot(chart: Chart) -> gr.LinePlot:
    """The empty plot. Only its value may change later: any other update redraws it, which flickers."""
    has_many_series = len(chart.series) > 1
    from_zero: dict[str, Any] = {} if has_many_series else {"y_lim": [0, None]}
    return gr.LinePlot(
        None,
        x="step",
        y=chart.name,
        color="series" if has_many_series else None,
        color_map=COLOURS if has_many_series else None,
        colors_in_legend=[],
        x_axis_format=",d",
        y_axis_format=chart.axis_format,
        x_title="step",
        y_title=" ",
        **from_zero,
        height=196,
        show_label=False,
        container=False,
        buttons=[],
    )


def frame(chart: Chart, metrics: Sequence[dict[str, Any]]) -> pd.DataFrame | None:
    """The plot's table with the columns `step`, `chart.name` and `series`; None without data."""
    drawn = {name: _points(metrics, column) for name, column in chart.series}
    if not any(drawn.values()):
        return None
    if chart.name == "perplexity":
        drawn = _below_ceiling({name: [(s, math.exp(min(v, 700))) for s, v in p] for name, p in drawn.items()})
    # The plot fixes its colours at the first table: a series added later would be invisible. So name all of them.
    rows: list[tuple[int, float | None, str]] = [(0, None, name) for name in drawn] if len(drawn) > 1 else []
    rows += [(step, _rounded(value), name) for name, points in drawn.items() for step, value in thin(points)]
    return pd.DataFrame(rows, columns=["step", chart.name, "series"])


def ceiling(metrics: Sequence[dict[str, Any]]) -> float | None:
    """Upper limit of the perplexities that are drawn; None when all are."""
    losses = [row[column] for row in metrics for _, column in CHARTS[1].series if row.get(column) is not None]
    if not losses or max(losses) - min(losses) <= math.log(CEILING):
        return None
    return CEILING * math.exp(min(losses))


def thin(points: Points, max_points: int = MAX_POINTS) -> Points:
    """At most `max_points` of `points`: the first, the last, and the minimum and maximum of each segment between them."""
    if len(points) <= max_points:
        return points
    num_segments = (max_points - 2) // 2
    inner = points[1:-1]
    kept = [points[0]]
    for index in range(num_segments):
        segment = inner[len(inner) * index // num_segments : len(inner) * (index + 1) // num_segments]
        extremes = {min(segment, key=lambda point: point[1]), max(segment, key=lambda point: point[1])}
        kept.extend(sorted(extremes))
    return [*kept, points[-1]]


def _points(metrics: Sequence[dict[str, Any]], column: str) -> Points:
    return [(row["step"], row[column]) for row in metrics if row.get(column) is not None]


def _below_ceiling(drawn: dict[str, Points]) -> dict[str, Points]:
    limit = CEILING * min(value for points in drawn.values() for _, value in points)
    return {name: [(step, value) for step, value in points if value <= limit] for name, points in drawn.items()}


def _rounded(value: float) -> float:
    """`value` with five significant digits: a screen shows no more."""
    return float(f"{value:.5g}")
