"""Axes of charts: range, ticks and tick labels, linear or logarithmic. Numbers only: the page (`ui.shared.charts`) and the
model card (`hub.curve_image`) draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LARGEST = 1e305
"""Values above this are not drawn: differences of such numbers overflow."""

INTERVALS = 4
"""Aim for the intervals between the ticks of a vertical axis. Steps of 1, 2 or 5 give two to seven."""

MAX_LOG_TICKS = 9
"""Tick labels that fit on a logarithmic axis: three decades with 2 and 5 within."""

NARROW = 3.0
"""A logarithmic axis whose range has a lower ratio than this gets the ticks of a linear one: 1-2-5 would give one or two."""

UNITS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


@dataclass(frozen=True)
class Axis:
    """A range and its ticks: pairs of value and label, all within the range."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = False

    def share(self, value: float) -> float:
        """Where `value` is on the axis, from 0 at `low` to 1 at `high`."""
        low, high, at = (map(math.log10, (self.low, self.high, value))) if self.is_log else (self.low, self.high, value)
        return (at - low) / (high - low)


def steps(last: int) -> Axis:
    """The horizontal axis, from step 0 to `last`, which need not be at a tick."""
    high = max(last, 1)
    step = max(_nice(high / 5), 1)
    return Axis(0, high, _labelled(step * number for number in range(int(high / step) + 1)))


def linear(values: Sequence[float]) -> Axis:
    """From the tick below the lowest value to the tick above the highest."""
    low, high = _apart(min(values), max(values))
    step = _nice(high / INTERVALS - low / INTERVALS)
    # 8.2 / 0.02 is a little less than 410: a value at a tick must not add another one.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = _labelled(step * number for number in range(first, last + 1))
    return Axis(ticks[0][0], ticks[-1][0], ticks)


def from_zero(values: Sequence[float]) -> Axis:
    """From zero to the tick above the highest value. Values below zero extend it."""
    return linear([0.0, *values]) if any(values) else Axis(0.0, 1.0, ((0.0, "0"),))


def logarithmic(values: Sequence[float]) -> Axis:
    """The axis of positive `values`: ticks at 1, 2 and 5 of each decade; at every nth decade when those are too many."""
    low, high = min(values), max(values)
    if high / low < NARROW:
        found = linear(values)
        return Axis(found.low, found.high, found.ticks, is_log=True)
    ticks = _one_two_five(low, high)
    if len(ticks) <= MAX_LOG_TICKS:
        low, high = ticks[0], ticks[-1]
    else:
        first, last = _decade(low), math.ceil(math.log10(high) - 1e-9)
        apart = int(_nice(max((last - first) / INTERVALS, 1)))
        low, high = 10.0**first, 10.0**last
        ticks = [10.0**decade for decade in range(-(-first // apart) * apart, last + 1, apart)]
    return Axis(low, high, tuple((tick, short(tick, tick, tick)) for tick in ticks), is_log=True)


def short(value: float, step: float, largest: float) -> str:
    """`value` with the digits that tell it from a neighbour `step` away: 0.25, 12, 1.2k, 3M, 5e-4, 1e21.

    `largest`: magnitude of the axis, so that either all its labels or none have an exponent.
    """
    if value == 0:
        return "0"
    if not 1e-2 <= largest < 1e15:
        mantissa, exponent = f"{value:.{max(0, _decade(abs(value)) - _decade(step))}e}".split("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    for unit, size in UNITS:
        if abs(value) >= size:
            return _trimmed(f"{value / size:.{max(0, _decade(size) - _decade(step))}f}") + unit
    return f"{value:.{max(0, -_decade(step))}f}"


def _labelled(values: Iterator[float]) -> tuple[tuple[float, str], ...]:
    """Evenly spaced `values` with their labels."""
    ticks = list(values)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    largest = max(map(abs, ticks)) or 1.0
    return tuple((tick, short(tick, step, largest)) for tick in ticks)


def _apart(low: float, high: float) -> tuple[float, float]:
    """A range that can be divided: around a single value, 5 % of it to both sides."""
    size = max(abs(low), abs(high))
    if high - low > 1e-9 * size and high - low > 1e-290:
        return low, high
    margin = size / 20 if size > 1e-280 else 0.5
    return low - margin, high + margin


def _nice(step: float) -> float:
    """The number of the form 1, 2 or 5 times a power of ten that is nearest to `step` by ratio."""
    decade = 10.0 ** _decade(step)
    return next(
        factor * decade for factor, up_to in ((1, 2), (2, 10), (5, 50), (10, 200)) if (step / decade) ** 2 <= up_to
    )


def _decade(value: float) -> int:
    """The exponent of the power of ten at or below `value`."""
    return math.floor(math.log10(value) + 1e-9)


def _one_two_five(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade, from the last at or below `low` to the first at or above `high`."""
    ticks = [factor * 10.0**decade for decade in range(_decade(low), _decade(high) + 1) for factor in (1, 2, 5)]
    ticks.append(10.0 ** (_decade(high) + 1))
    first = max(index for index, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    last = min(index for index, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return ticks[first : last + 1]


def _trimmed(number: str) -> str:
    """`number` without zeros at the end of its fraction."""
    return number.rstrip("0").rstrip(".") if "." in number else number
