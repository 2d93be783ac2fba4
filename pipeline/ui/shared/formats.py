"""Formats numbers and tokens for people. An unknown value is an en dash."""

from __future__ import annotations

import time

from pipeline.core.text import with_unseen_shown
from pipeline.ui.shared.texts import t

UNKNOWN = "–"
THOUSANDS = (("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12))


def whole(value: float | None) -> str:
    """12,345"""
    return UNKNOWN if value is None else f"{value:,.0f}"


def loss(value: float | None) -> str:
    """4.207, 2.1e+12"""
    return UNKNOWN if value is None else _short_if_huge(value, f"{value:.3f}")


def perplexity(value: float | None) -> str:
    """2.89, 61.4, 4,096, 1.0e+304"""
    return UNKNOWN if value is None else _short_if_huge(value, three_digits(value))


def rate(value: float | None) -> str:
    """2.0e-03"""
    return UNKNOWN if value is None else f"{value:.1e}"


def percent(share: float | None, digits: int = 2) -> str:
    """3.26 %"""
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %"


def chance(probability: float | None) -> str:
    """41 %, 0.3 %, < 0.1 %"""
    if probability is not None and probability < 0.001:
        return f"< {percent(0.001, 1)}"
    return percent(probability, 0 if probability is None or probability >= 0.1 else 1)


def signed(value: float) -> str:
    """+1.20, −0.35, 0.00"""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def visible(token: str) -> str:
    """A token's text on one line, with all of it seen. A part of a character, which has no text, is a dot."""
    return with_unseen_shown(token).replace("\n", "↵").replace("\r", "␍") or "·"


def compact(value: float | None) -> str:
    """4.3 M. More than the largest unit is shown in it as a whole number: 131,072 T."""
    if value is None:
        return UNKNOWN
    unit, size = next(((u, s) for u, s in reversed(THOUSANDS) if value >= s), THOUSANDS[0])
    scaled = value / size
    return f"{scaled:,.0f} {unit}".rstrip() if not unit or scaled >= 1_000 else f"{scaled:.1f} {unit}"


def three_digits(value: float) -> str:
    """0.41, 25.4, 2,542,826: at least two digits, and no more decimals than are meaningful."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def size(num_bytes: float | None) -> str:
    """1.4 kB"""
    if num_bytes is None:
        return UNKNOWN
    return f"{compact(num_bytes)}B" if num_bytes >= 1000 else f"{num_bytes:.0f} B"


def binary(num_bytes: int) -> str:
    """64 B, 2 kB, 1 MB, where a kilobyte is 1024 bytes: for size classes that double."""
    for unit, unit_bytes in (("MB", 2**20), ("kB", 2**10)):
        if num_bytes >= unit_bytes:
            return f"{num_bytes // unit_bytes} {unit}"
    return f"{num_bytes} B"


def duration(seconds: float | None) -> str:
    """0.2 s, 42 s, 12 min, 1 h 05 min"""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return t("unit.seconds", n=f"{seconds:.1f}")
    if seconds < 90:
        return t("unit.seconds", n=round(seconds))
    minutes = round(seconds / 60)
    if minutes < 60:
        return t("unit.minutes", n=minutes)
    return t("unit.hours", hours=minutes // 60, minutes=f"{minutes % 60:02}")


def ago(unix_seconds: float | None, now: float | None = None) -> str:
    """The age of a time in its largest unit: just now, 5 min ago, 2 h ago, 1 d ago"""
    if not unix_seconds:
        return UNKNOWN
    seconds = max(0.0, (time.time() if now is None else now) - unix_seconds)
    if seconds < 60:
        return t("ago.now")
    for key, length in (("ago.days", 86_400), ("ago.hours", 3_600), ("ago.minutes", 60)):
        if seconds >= length:
            return t(key, n=int(seconds // length))
    return UNKNOWN


def _short_if_huge(value: float, text: str) -> str:
    """`text`, unless it has more than six digits before its point: that is a loss that diverged."""
    return text if abs(value) < 1e6 else f"{value:.1e}"
