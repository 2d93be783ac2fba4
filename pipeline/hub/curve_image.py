"""The image of a run's losses that its model card shows: a PNG, the same bytes for the same losses."""

from __future__ import annotations

import io
from typing import Any

from pipeline.core import axes
from pipeline.core.axes import Axis

WIDTH, HEIGHT = 1200, 560
LEFT, TOP, RIGHT, BOTTOM = 90, 70, 1150, 490
"""The plot area, in pixels."""
SMOOTH = 3
"""Drawn this many times larger, then reduced, so that lines are smooth."""
FONT_SIZE = 22
PAPER, INK, GRID, TRAINING, VALIDATION = "#ffffff", "#33383f", "#e3e6ea", "#b4bbc4", "#0b6e99"
DOT = 6
"""Radius of the mark of a measured validation loss; between the marks the line is only a guide."""
MAX_DOTS = 60
MAX_POINTS = 2_000
"""Of the training loss: more than one for each pixel cannot be seen."""

Line = list[tuple[float, float]]


def curve_image(rows: list[dict[str, Any]]) -> bytes | None:
    """Training and validation loss by optimizer step. `rows`: of metrics.jsonl. None with fewer than two validations."""
    training, validation = (_line(rows, name) for name in ("train_loss", "eval_loss"))
    if len(validation) < 2:
        return None
    from PIL import Image, ImageDraw, ImageFont

    across = axes.steps(int(max(step for step, _ in training + validation)))
    up = axes.linear([loss for _, loss in training + validation])
    image = Image.new("RGB", (WIDTH * SMOOTH, HEIGHT * SMOOTH), PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(FONT_SIZE * SMOOTH)
    for loss, label in up.ticks:
        y = _up(up, loss)
        draw.line([(LEFT * SMOOTH, y), (RIGHT * SMOOTH, y)], fill=GRID, width=SMOOTH)
        draw.text(((LEFT - 12) * SMOOTH, y), label, fill=INK, font=font, anchor="rm")
    for step, label in across.ticks:
        draw.text((_across(across, step), (BOTTOM + 12) * SMOOTH), label, fill=INK, font=font, anchor="mt")
    draw.text((RIGHT * SMOOTH, (HEIGHT - 12) * SMOOTH), "optimizer step", fill=INK, font=font, anchor="rb")
    for name, line, colour, width, left in (
        ("training loss per token", training, TRAINING, 2, LEFT + 380),
        ("validation loss per token", validation, VALIDATION, 4, LEFT),
    ):
        if not line:
            continue
        points = [(_across(across, step), _up(up, loss)) for step, loss in line]
        draw.line(points, fill=colour, width=width * SMOOTH, joint="curve")
        if colour == VALIDATION and len(points) <= MAX_DOTS:
            for x, y in points:
                draw.ellipse([x - DOT * SMOOTH, y - DOT * SMOOTH, x + DOT * SMOOTH, y + DOT * SMOOTH], fill=colour)
        swatch = [(left * SMOOTH, 30 * SMOOTH), ((left + 40) * SMOOTH, (30 + width) * SMOOTH)]
        draw.rectangle(swatch, fill=colour)
        draw.text(((left + 52) * SMOOTH, 32 * SMOOTH), name, fill=INK, font=font, anchor="lm")
    file = io.BytesIO()
    image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()


def _line(rows: list[dict[str, Any]], name: str) -> Line:
    """The losses of that name that can be drawn, by step; evenly thinned when there are very many."""
    line = [
        (float(row["step"]), row[name])
        for row in rows
        if isinstance(row.get(name), float) and 0 <= row[name] < axes.LARGEST
    ]
    every = -(-len(line) // MAX_POINTS) or 1
    return line[::-1][::every][::-1]  # with the last one


def _across(axis: Axis, step: float) -> float:
    return (LEFT + (RIGHT - LEFT) * axis.share(step)) * SMOOTH


def _up(axis: Axis, loss: float) -> float:
    return (BOTTOM - (BOTTOM - TOP) * axis.share(loss)) * SMOOTH
