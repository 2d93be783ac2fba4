"""Every pair of colours that is used can be read, in light and in dark: WCAG 2.2, 4.5 for text and 3 for edges."""

from __future__ import annotations

import pytest

from pipeline.ui.shared.texts import ASSETS
from pipeline.ui.shared.theme import TOKENS, Studio, token_css

SYNTAX = [name for name in TOKENS if name.startswith("syn-")]
TEXT = [
    *[
        ("ink", back)
        for back in ("canvas", "surface", "sunken", "hover", "accent-soft", "mark", "warn-soft", "bad-soft")
    ],
    *[(ink, back) for ink in ("ink-2", "ink-3") for back in ("canvas", "surface", "sunken", "hover")],
    *[("accent", back) for back in ("canvas", "surface", "sunken", "accent-soft")],
    ("accent-ink", "accent"),
    ("accent-ink", "accent-hover"),
    ("warn", "warn-soft"),
    ("bad", "surface"),
    ("bad", "bad-soft"),
    *[(syntax, back) for syntax in SYNTAX for back in ("surface", "sunken", "accent-soft")],
    *[(f"series-{name}", "surface") for name in ("train", "val", "rate", "speed")],
]
EDGES = [("line-strong", "canvas"), ("line-strong", "surface"), ("line-strong", "sunken"), ("mark-line", "sunken")]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), TEXT)
def test_text_can_be_read(front: str, back: str, mode: int) -> None:
    assert contrast(TOKENS[front][mode], TOKENS[back][mode]) >= 4.5


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), EDGES)
def test_edges_can_be_seen(front: str, back: str, mode: int) -> None:
    assert contrast(TOKENS[front][mode], TOKENS[back][mode]) >= 3


def test_contrast_of_black_on_white_is_21() -> None:
    """The control."""
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") < 4.5


def test_the_stylesheet_names_no_colour_itself() -> None:
    import re

    rules = re.sub(r"/\*.*?\*/", "", (ASSETS / "studio.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b\s*[;,)]", rules)
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", rules)) - {"bar", "mono", "c", "range_progress", "at", "to"}
    assert used <= set(TOKENS)


def test_the_theme_carries_both_modes() -> None:
    assert ".dark{" in token_css()
    assert "--accent:#0A7557" in Studio().custom_css
