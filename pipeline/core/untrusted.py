"""Checks of values that somebody else may have written to a repo, before they are shown."""

from __future__ import annotations

from typing import Any

from pipeline.core.text import surrogate_at

MAX_NUMBER = 2**53
"""Larger whole numbers are none of ours, and may have more digits than Python converts."""
MAX_FLOAT = 1e300
"""Formats and axes work below this."""


def is_usable(value: Any) -> bool:
    """Whether the pages and formats can show it: numbers of a usual size, text that can be encoded, at any depth that
    Python's own recursion allows.
    """
    try:
        return _is_usable(value)
    except RecursionError:
        return False


def _is_usable(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_usable(key) and _is_usable(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_usable, value))
    if isinstance(value, str):
        return surrogate_at(value) is None
    if isinstance(value, int):
        return abs(value) < MAX_NUMBER
    return value is None or abs(value) < MAX_FLOAT
