from __future__ import annotations

import io
import math
from typing import Any

import pytest
from PIL import Image

from pipeline.hub.curve_image import HEIGHT, VALIDATION, WIDTH, curve_image


def rows(losses: list[float | None]) -> list[dict[str, Any]]:
    return [{"step": 100 * number, "eval_loss": loss, "train_loss": 9.0} for number, loss in enumerate(losses)]


def opened(png: bytes | None) -> Image.Image:
    assert png is not None
    return Image.open(io.BytesIO(png)).convert("RGB")


def blue_at(image: Image.Image, x: int) -> list[int]:
    """Rows of the image where the validation loss is drawn in the column `x`."""
    blue = tuple(int(VALIDATION[at : at + 2], 16) for at in (1, 3, 5))

    def is_blue(y: int) -> bool:
        pixel = image.getpixel((x, y))
        assert isinstance(pixel, tuple)
        return all(abs(a - b) < 40 for a, b in zip(pixel, blue, strict=True))

    return [y for y in range(70, HEIGHT) if is_blue(y)]


def test_a_falling_loss_is_a_line_that_falls() -> None:
    image = opened(curve_image(rows([8.0, 5.0, 4.0, 3.5, 3.2])))
    assert image.size == (WIDTH, HEIGHT)
    heights = [min(blue_at(image, x)) for x in (95, 400, 700, 1_100)]
    assert heights == sorted(heights) and heights[0] < heights[-1] - 100, "y grows downwards"


def test_the_same_losses_are_the_same_bytes_and_others_are_not() -> None:
    assert curve_image(rows([8.0, 5.0])) == curve_image(rows([8.0, 5.0]))
    assert curve_image(rows([8.0, 5.0])) != curve_image(rows([8.0, 6.0]))


@pytest.mark.parametrize(
    "losses",
    [[], [8.0], [None, None], [8.0, math.nan], [8.0, math.inf], [8.0, 1e308]],
    ids=["none", "one", "not measured", "nan", "inf", "too large to draw"],
)
def test_without_two_losses_there_is_no_image(losses: list[float | None]) -> None:
    assert curve_image(rows(losses)) is None


def test_a_million_rows_and_a_loss_that_stays_the_same_are_drawn() -> None:
    assert blue_at(opened(curve_image([{"step": step, "eval_loss": 2.0} for step in range(100_000)])), 600)
