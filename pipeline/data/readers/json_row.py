"""Converts one JSON value to a row of the course's columns, or to a bad row with the reason."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline.core.text import surrogate_at
from pipeline.data.sources.base import (
    NAMES,
    NO_TEXT,
    NOT_A_STRING,
    NOT_AN_OBJECT,
    NOT_UTF8,
    NULL_TEXT,
    TEXT_COLUMNS,
    BadRow,
    Row,
)

if TYPE_CHECKING:
    from pipeline.data.sources.base import TextOf

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def loads(data: bytes) -> Any:
    """Raises ValueError or RecursionError; the ValueError is a UnicodeDecodeError when `data` is not UTF-8."""
    # Decoded here, as json would guess other encodings line by line.
    return DECODER.decode(data.removeprefix(BYTE_ORDER_MARK).decode("utf-8"))


def _first_of_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of duplicate keys in one object the first counts, as it does in reading by columns."""
    return dict(reversed(pairs)) if len({name for name, _ in pairs}) < len(pairs) else dict(pairs)


DECODER = json.JSONDecoder(object_pairs_hook=_first_of_duplicates)
"""Created once: creating it takes as long as reading a short line."""


class TextKeys:
    """The keys that the text of a file's rows may have, in order of preference: decided by the first row."""

    def __init__(self, text_of: TextOf) -> None:
        self._text_of = text_of
        self._names: tuple[str, ...] | None = None

    def of_lines(self, data: bytes) -> tuple[str, ...]:
        """The keys for lines of the file, as JSON, of which the first was not read before."""
        if self._names is None:
            try:
                return self.of_value(loads(data.lstrip().split(b"\n", 1)[0]))
            except (ValueError, RecursionError):
                return TEXT_COLUMNS
        return self._names

    def of_value(self, value: Any) -> tuple[str, ...]:
        """The same for a row that is already parsed."""
        if self._names is None and isinstance(value, dict) and any(isinstance(item, str) for item in value.values()):
            self._names = self._decided(value)
        return TEXT_COLUMNS if self._names is None else self._names

    def _decided(self, row: dict[str, Any]) -> tuple[str, ...]:
        import polars as pl

        found = self._text_of({key: pl.String() if isinstance(item, str) else pl.Null() for key, item in row.items()})
        usual = next((name for name in TEXT_COLUMNS if name in row), None)
        if found is None and usual is not None:  # another column was requested, and is missing
            return ()
        return TEXT_COLUMNS if found in (None, usual) else (found,)


def row_of(value: Any, where: str, names: tuple[str, ...]) -> Row | BadRow:
    """`value`, located at `where`, as a row. Its text is the value of the first key in `names` that it has."""
    if not isinstance(value, dict):
        return BadRow(NOT_AN_OBJECT, where)
    name = next((name for name in names if name in value), None)
    if name is None:
        return BadRow(NO_TEXT, where)
    if reason := text_fault(value[name]):
        return BadRow(reason, where)
    repo_name, path, copies, size, license_name = (as_text(_first(value, names)) for names in NAMES.values())
    return (repo_name, path, copies, size, value[name], license_name)


def _first(value: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first value of `names` that is not null."""
    return next((value[name] for name in names if value.get(name) is not None), None)


def text_fault(value: Any) -> str | None:
    """Why `value` cannot be a file's text, or None."""
    if value is None:
        return NULL_TEXT
    if not isinstance(value, str):
        return NOT_A_STRING
    return None if surrogate_at(value) is None else NOT_UTF8


def as_text(value: Any) -> str:
    """A value of a column other than the text, as a string; empty for None. The items of a list of strings, such as
    licences, are separated by commas.
    """
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    if isinstance(value, float) and math.isfinite(value):
        return f"{Decimal(repr(value)):f}".removesuffix(".0")  # as in reading by columns: 1 for 1.0, no exponent
    if not isinstance(value, (str, int, float, list, dict)):  # types of tables that JSON lacks: bytes, dates
        value = _other_text(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_other_text)
    return text if surrogate_at(text) is None else text.encode("utf-8", "replace").decode()


def _other_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
