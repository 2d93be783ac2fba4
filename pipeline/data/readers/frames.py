"""Converts tables with columns of any type to the course's columns: whole columns at once where their type allows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.data.readers.json_row import as_text, text_fault
from pipeline.data.sources.base import (
    COLUMNS,
    LONGEST_TEXT,
    NAMES,
    NOT_A_STRING,
    NULL_TEXT,
    TEXT_COLUMNS,
    TOO_LONG,
    BadRow,
    Batch,
    content_bytes,
)

if TYPE_CHECKING:
    import polars as pl


def text_column(schema: Mapping[str, pl.DataType], asked: str | None = None) -> str | None:
    """The column of a table that holds the files' text: the requested one, else the first of TEXT_COLUMNS, else the
    only string column that is not one of repositories, paths or licences; None when there is no such column.
    """
    import polars as pl

    if asked is not None:
        return asked if asked in schema else None
    others = {name for names in NAMES.values() for name in names}
    texts = [name for name, kind in schema.items() if kind == pl.String]
    found = next((name for name in TEXT_COLUMNS if name in schema), None)
    return found or (texts[0] if len(texts) == 1 and texts[0] not in others else None)


def batch_of(frame: pl.DataFrame, text: str, *, place: str, first: int) -> Batch:
    """`frame` as a batch. `text` is its text column, `place` its name in bad rows, `first` its first row number."""
    import polars as pl

    content, reasons = _texts(frame[text])
    rows = pl.DataFrame({name: content if name == "content" else _other(frame, NAMES[name]) for name in COLUMNS})
    for row in _too_long(rows):
        reasons[row] = TOO_LONG
    if reasons:
        rows = rows[[row for row in range(len(rows)) if row not in reasons]]
    bad = tuple(BadRow(reason, f"{place}:{first + row}") for row, reason in sorted(reasons.items()))
    return Batch(rows, content_bytes(rows), bad)


def _too_long(rows: pl.DataFrame) -> list[int]:
    """The indices of rows with a value that is longer than a line may be."""
    import polars as pl

    [sizes] = rows.select(pl.max_horizontal(pl.all().str.len_bytes())).get_columns()
    return (sizes > LONGEST_TEXT).arg_true().to_list()


def _texts(column: pl.Series) -> tuple[pl.Series, dict[int, str]]:
    """The text of every row, null where it is bad, and the reasons for that: {row: reason}."""
    import polars as pl

    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):  # a table may store repeated text like this
        column = column.cast(pl.String)
    kind = column.dtype
    if kind == pl.Binary:
        return _each(column, _from_bytes)
    if isinstance(kind, pl.BaseExtension):  # a JSON column of mixed values: datasets stores each as its JSON text
        return _each(column.ext.storage(), _from_json)
    nulls = dict.fromkeys(column.is_null().arg_true().to_list(), NULL_TEXT)
    if kind == pl.String:
        return column, nulls
    reasons = {row: nulls.get(row, NOT_A_STRING) for row in range(len(column))}
    return pl.Series(column.name, [None] * len(column), dtype=pl.String), reasons


def _each(column: pl.Series, decode: Callable[[Any], Any]) -> tuple[pl.Series, dict[int, str]]:
    """Row by row, for the rare columns whose values are not all text."""
    import polars as pl

    texts: list[str | None] = []
    faults: dict[int, str] = {}
    for row, stored in enumerate(column.to_list()):
        if stored is not None and len(stored) > LONGEST_TEXT:
            value, faults[row] = None, TOO_LONG
        else:
            value = None if stored is None else decode(stored)
            if fault := text_fault(value):
                value, faults[row] = None, fault
        texts.append(value)
    return pl.Series(column.name, texts, dtype=pl.String), faults


def _from_json(value: str) -> Any:
    """The value that the JSON text `value` describes; a list, which is not text, when it is not JSON."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return []


def _from_bytes(value: bytes) -> str:
    # A byte that is not UTF-8 becomes a lone surrogate, which text_fault then finds.
    return value.decode("utf-8", "surrogateescape")


def _other(frame: pl.DataFrame, names: Iterable[str]) -> pl.Series:
    """A column other than the text: in each row the first value of `names` that is not null, as a string."""
    import polars as pl

    columns = [_strings(frame[name]) for name in names if name in frame.columns]
    if not columns:
        return pl.repeat("", len(frame), dtype=pl.String, eager=True)
    return pl.select(pl.coalesce(columns).fill_null("")).to_series()


def _strings(column: pl.Series) -> pl.Series:
    """A column as strings; nulls stay."""
    import polars as pl

    if column.dtype == pl.String:
        return column
    values = [None if value is None else as_text(value) for value in column.to_list()]
    return pl.Series(column.name, values, dtype=pl.String)
