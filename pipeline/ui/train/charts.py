"""Metrics as short tables that a line plot can bear, and the plots themselves.

A line plot is sent whole at every change and costs the browser half a millisecond a row: at most 200 points a series.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

MOST_POINTS = 200
CEILING = 12
"""Perplexities above this many times the lowest are left out: there is no logarithmic axis, and the first ones would
press the rest flat."""

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Chart:
    """One plot: its key, its axis and the columns of the metrics that it draws as series."""

    name: str
    axis_format: str
    series: tuple[tuple[str, str], ...]
    """Name of the series, column of the metrics."""


CHARTS = (
    Chart("loss", ".3~r", (("train", "train_loss"), ("validation", "eval_loss"))),
    Chart("perplexity", ",.3~r", (("train", "train_loss"), ("validation", "eval_loss"))),
    Chart("rate", ".1e", (("rate", "learning_rate"),)),
    Chart("speed", ",.3~r", (("speed", "tokens_per_second"),)),
)
COLOURS = {"train": "var(--series-train)", "validation": "var(--series-val)"}


def line_plot(chart: Chart) -> gr.LinePlot:
    """The empty plot. Nothing but its value may change later: anything else draws it anew, with a flicker."""
    many = len(chart.series) > 1
    from_zero: dict[str, Any] = {} if many else {"y_lim": [0, None]}
    return gr.LinePlot(
        None,
        x="step",
        y=chart.name,
        color="series" if many else None,
        color_map=COLOURS if many else None,
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
    """What the plot draws, or None while there is nothing: columns step, the chart's name and series."""
    drawn = {name: _points(metrics, column) for name, column in chart.series}
    if not any(drawn.values()):
        return None
    if chart.name == "perplexity":
        drawn = _below_ceiling({name: [(s, math.exp(min(v, 700))) for s, v in p] for name, p in drawn.items()})
    # The plot fixes its colours at the first frame: a series that came later would be invisible. So name them all.
    rows: list[tuple[int, float | None, str]] = [(0, None, name) for name in drawn] if len(drawn) > 1 else []
    rows += [(step, _rounded(value), name) for name, points in drawn.items() for step, value in thin(points)]
    return pd.DataFrame(rows, columns=["step", chart.name, "series"])


def ceiling(metrics: Sequence[dict[str, Any]]) -> float | None:
    """The highest perplexity that is drawn, or None when all are."""
    losses = [row[column] for row in metrics for _, column in CHARTS[1].series if row.get(column) is not None]
    if not losses or max(losses) - min(losses) <= math.log(CEILING):
        return None
    return CEILING * math.exp(min(losses))


def thin(points: Points, most: int = MOST_POINTS) -> Points:
    """At most `most` of `points`: the lowest and the highest of each stretch, the first and the last; none invented."""
    if len(points) <= most:
        return points
    num_stretches = (most - 2) // 2
    inner = points[1:-1]
    kept = [points[0]]
    for number in range(num_stretches):
        stretch = inner[len(inner) * number // num_stretches : len(inner) * (number + 1) // num_stretches]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept.extend(sorted(ends))
    return [*kept, points[-1]]


def _points(metrics: Sequence[dict[str, Any]], column: str) -> Points:
    return [(row["step"], row[column]) for row in metrics if row.get(column) is not None]


def _below_ceiling(drawn: dict[str, Points]) -> dict[str, Points]:
    top = CEILING * min(value for points in drawn.values() for _, value in points)
    return {name: [(step, value) for step, value in points if value <= top] for name, points in drawn.items()}


def _rounded(value: float) -> float:
    """Five digits: what a screen can show."""
    return float(f"{value:.5g}")
