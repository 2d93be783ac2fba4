"""One JSON value as a row of the course's columns, or why it is none."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from pipeline.data.sources.base import (
    COLUMNS,
    NO_TEXT,
    NOT_A_STRING,
    NOT_AN_OBJECT,
    NOT_UTF8,
    NULL_TEXT,
    BadRow,
    Row,
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def loads(data: bytes) -> Any:
    """Raises ValueError or RecursionError; of the former, UnicodeDecodeError when it is not UTF-8."""
    # Decoded here: json would guess at other encodings, line by line.
    return DECODER.decode(data.removeprefix(BYTE_ORDER_MARK).decode("utf-8"))


def _first_of_equal(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two equal names in one object the first counts, as it does in reading by columns."""
    return dict(reversed(pairs)) if len({name for name, _ in pairs}) < len(pairs) else dict(pairs)


DECODER = json.JSONDecoder(object_pairs_hook=_first_of_equal)
"""Made once: to make it takes as long as to read a short line."""


def row_of(value: Any, where: str, names: tuple[str, ...]) -> Row | BadRow:
    """`value` is in `where`; its text is what it has under the first of `names` that it has."""
    if not isinstance(value, dict):
        return BadRow(NOT_AN_OBJECT, where)
    name = next((name for name in names if name in value), None)
    if name is None:
        return BadRow(NO_TEXT, where)
    if reason := text_fault(value[name]):
        return BadRow(reason, where)
    other = [value[name] if column == "content" else as_text(value.get(column)) for column in COLUMNS]
    repo_name, path, copies, size, content, license_name = other
    return (repo_name, path, copies, size, content, license_name)


def text_fault(value: Any) -> str | None:
    """Why `value` cannot be a file's text, or None."""
    if value is None:
        return NULL_TEXT
    if not isinstance(value, str):
        return NOT_A_STRING
    return None if _is_utf8(value) else NOT_UTF8


def as_text(value: Any) -> str:
    """A column other than the text, as a string; empty when there is none."""
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return f"{Decimal(repr(value)):f}".removesuffix(".0")  # as reading by columns writes it: 1 for 1.0, no exponent
    if not isinstance(value, (str, int, float, list, dict)):  # what a table holds and JSON does not: bytes, dates
        value = _other_text(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_other_text)
    return text if _is_utf8(text) else text.encode("utf-8", "replace").decode()


def _other_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_utf8(text: str) -> bool:
    """JSON may spell half a character (a lone surrogate), which no file can hold."""
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
