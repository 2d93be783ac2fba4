"""Charts of the metrics: which series each has, its axes, and its lines in the coordinates of the SVG.

Templates chart_head and chart draw them. Does not depend on Gradio. A line has at most 200 points, because every update
sends all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core import axes
from pipeline.core.axes import Axis
from pipeline.ui.shared import formats
from pipeline.ui.shared.markup import render

MAX_POINTS = 200
WIDTH, HEIGHT = 400, 160
"""Size of the SVG's own coordinates; the page stretches them to the size of the card."""

Points = list[tuple[int, float]]
Metrics = Sequence[dict[str, Any]]


def perplexity_of(loss: float) -> float:
    """exp(loss), within the range of a float for any loss."""
    return math.exp(max(-600, min(loss, 700)))


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What one chart shows."""

    name: str
    series: tuple[tuple[str, str], ...]
    """Pairs of series name and metrics column. The name is also the series' CSS class and its key among the texts."""
    axis: Callable[[Sequence[float]], Axis]
    """Makes the vertical axis of all values that are drawn."""
    text: Callable[[float | None], str]
    """Formats a value for the head and the tooltip."""
    value: Callable[[float], float] = float
    """Makes the value that is drawn from that of the column. It must be monotonic."""


LOSSES = (("train", "train_loss"), ("val", "eval_loss"))
CHARTS = (
    Chart(name="loss", series=LOSSES, axis=axes.linear, text=formats.loss),
    Chart(name="perplexity", series=LOSSES, axis=axes.logarithmic, text=formats.perplexity, value=perplexity_of),
    Chart(name="rate", series=(("rate", "learning_rate"),), axis=axes.from_zero, text=formats.rate),
    Chart(name="speed", series=(("speed", "tokens_per_second"),), axis=axes.from_zero, text=formats.whole),
)
TASKS = Chart(
    name="tasks",
    series=(("parses", "parses"), ("runs", "runs"), ("right", "right")),
    axis=axes.from_zero,
    text=lambda drawn: formats.percent(None if drawn is None else drawn / 100, 1),
    value=lambda share: 100 * share,
)
"""Of evaluations, whose rows are those of `artifacts.evaluation`."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series in the coordinates of the SVG. Without points it has only its name."""

    name: str
    vertices: tuple[tuple[float, float], ...] = ()
    steps: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    """The value at each of `steps`, formatted."""

    @property
    def path(self) -> str:
        """The line as SVG path data."""
        return "M" + "L".join(f"{x:g} {y:g}" for x, y in self.vertices) if self.vertices else ""

    @property
    def end(self) -> str:
        """A line without length at the last point: with round caps it is drawn as a dot."""
        return "M{:g} {:g}h0".format(*self.vertices[-1]) if self.vertices else ""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One chart with all that its templates need."""

    name: str
    lines: tuple[Line, ...]
    across: tuple[tuple[float, str], ...] = ()
    """Ticks of the horizontal axis: pairs of x in percent of the width and label."""
    up: tuple[tuple[float, str], ...] = ()
    """Ticks of the vertical axis: pairs of y in percent of the height, from the top, and label."""
    level: float | None = None
    """Height of a line across the chart, as of `up`: the value of another model."""

    @property
    def newest(self) -> list[tuple[str, str]]:
        """Pairs of series name and its last value; an en dash for a series without points."""
        return [(line.name, line.texts[-1] if line.texts else formats.UNKNOWN) for line in self.lines]

    @property
    def last_step(self) -> int | None:
        return max((line.steps[-1] for line in self.lines if line.steps), default=None)


def drawing(chart: Chart, metrics: Metrics, level: float | None = None) -> Drawing:
    """`chart` with the values of `metrics`. The horizontal axis ends at the last step that has any row. `level`: a value
    of another model, for a line across the chart.
    """
    series = {name: thin(_points(metrics, column)) for name, column in chart.series}
    drawn = {name: [(step, chart.value(value)) for step, value in points] for name, points in series.items()}
    values = [value for points in drawn.values() for _, value in points]
    if not values:
        return Drawing(name=chart.name, lines=tuple(Line(name=name) for name in drawn))
    levels = [] if level is None else [chart.value(level)]
    across, up = axes.steps(max(row["step"] for row in metrics)), chart.axis([*values, *levels])
    return Drawing(
        name=chart.name,
        lines=tuple(_line(name, points, across, up, chart.text) for name, points in drawn.items()),
        across=tuple((_percent(across.share(tick)), label) for tick, label in across.ticks),
        up=tuple((_percent(1 - up.share(tick)), label) for tick, label in up.ticks),
        level=next((_percent(1 - up.share(value)) for value in levels), None),
    )


def head(drawn: Drawing) -> str:
    """Title, legend and newest values as HTML."""
    return render("chart_head", name=drawn.name, newest=drawn.newest)


def plot(drawn: Drawing) -> str:
    """Axes, lines and the data of the tooltip as HTML."""
    return render("chart", drawing=drawn, width=WIDTH, height=HEIGHT)


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


def _points(metrics: Metrics, column: str) -> Points:
    """Steps in order, each once, with their values. Leaves out what is missing, not finite or too large to draw."""
    values = {row["step"]: row[column] for row in metrics if row.get(column) is not None}
    return [(step, values[step]) for step in sorted(values) if abs(values[step]) <= axes.LARGEST]


def _line(name: str, points: Points, across: Axis, up: Axis, text: Callable[[float | None], str]) -> Line:
    return Line(
        name=name,
        vertices=tuple((_rounded(WIDTH * across.share(s)), _rounded(HEIGHT * (1 - up.share(v)))) for s, v in points),
        steps=tuple(step for step, _ in points),
        texts=tuple(text(value) for _, value in points),
    )


def _rounded(length: float) -> float:
    """A tenth of a unit is finer than a pixel. Adding zero removes the sign of -0.0."""
    return round(length, 1) + 0.0


def _percent(share: float) -> float:
    return round(100 * share, 2) + 0.0
