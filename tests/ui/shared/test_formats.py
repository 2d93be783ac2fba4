"""Numbers formatted for people."""

from __future__ import annotations

import pytest

from pipeline.ui.shared import formats


@pytest.mark.parametrize(
    ("formatted", "expected"),
    [
        (formats.whole(12_345.0), "12,345"),
        (formats.loss(4.20749), "4.207"),
        (formats.perplexity(2.888), "2.89"),
        (formats.perplexity(61.44), "61.4"),
        (formats.perplexity(4_096.2), "4,096"),
        (formats.perplexity(1.01e304), "1.0e+304"),
        (formats.loss(2.1e12), "2.1e+12"),
        (formats.rate(0.002), "2.0e-03"),
        (formats.percent(0.0326), "3.26 %"),
        (formats.compact(124_242_432), "124.2 M"),
        (formats.compact(950), "950"),
        (formats.compact(4.096e12), "4.1 T"),
        (formats.compact(1.31072e17), "131,072 T"),
        (formats.size(4.096e12), "4.1 TB"),
        (formats.three_digits(0.41), "0.41"),
        (formats.three_digits(2_542_826.39), "2,542,826"),
        (formats.size(812), "812 B"),
        (formats.size(1_400), "1.4 kB"),
        (formats.duration(42), "42 s"),
        (formats.duration(90), "2 min"),
        (formats.duration(3_900), "1 h 05 min"),
        (formats.ago(1_000, now=1_030), "just now"),
        (formats.ago(1_000, now=1_000 + 7_300), "2 h ago"),
        (formats.ago(1_000, now=1_000 + 90_000), "1 d ago"),
    ],
)
def test_numbers_are_short_and_carry_their_unit(formatted: str, expected: str) -> None:
    assert formatted == expected


@pytest.mark.parametrize(
    "name", ["whole", "loss", "perplexity", "rate", "percent", "compact", "size", "duration", "ago"]
)
def test_an_unknown_value_is_a_dash(name: str) -> None:
    assert getattr(formats, name)(None) == formats.UNKNOWN
