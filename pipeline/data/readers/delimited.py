"""Reads a file of comma- or tab-separated values whose first record names the columns."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from pipeline.data.readers.decompress import Unpacked
from pipeline.data.readers.delimited_records import MAX_COLUMNS, Record, Records
from pipeline.data.readers.whole_lines import whole_lines
from pipeline.data.sources.base import (
    COLUMNS,
    FIELDS,
    NAMES,
    NO_HEADER,
    NO_TEXT,
    NOT_UTF8,
    NULL_TEXT,
    OTHER_DELIMITER,
    TEXT_COLUMNS,
    BadRow,
    Batch,
    batch_of_bad,
    content_bytes,
)
from pipeline.data.sources.shard import Block

if TYPE_CHECKING:
    import polars as pl

BLOCK_ROWS = 8_192
BLOCK_BYTES = 4 * 2**20
DELIMITERS = re.compile(r"[,;|\t]")
COLUMN_NAME = re.compile(r"[\w.-]+( [\w.-]+)*")
"""One or more words. Code seldom looks like this, except for statements that begin with a keyword."""


def delimited_blocks(
    stream: BinaryIO,
    place: str,
    num_bytes: int | None,
    text_of: Callable[[Mapping[str, pl.DataType]], str | None],
    *,
    delimiter: bytes,
    packing: str = "",
) -> Iterator[Block]:
    """The rows of one file. `text_of` selects the text column from those that the first record names; `place` is the
    file name in bad rows. A file without a text column is one bad row.
    """
    source = Unpacked(stream, packing, num_bytes)
    records = Records(whole_lines(source.chunks(), place), place, delimiter)
    found = iter(records)
    header = next(found, None)
    if header is None:
        return
    try:
        columns = _columns(header, place, text_of)
    except _NoHeader as fault:
        yield Block(partial(batch_of_bad, fault.row), 1.0)
        return
    records.keep(columns.indices, columns.num_fields)
    while block := _next_block(found):
        yield Block(partial(_batch, block, columns, place), source.share())


class _NoHeader(Exception):
    def __init__(self, row: BadRow) -> None:
        self.row = row


@dataclass(frozen=True)
class _Columns:
    """Maps the fields of a record to COLUMNS."""

    num_fields: int
    indices: tuple[int, ...]
    """Of the fields that are kept, in ascending order."""
    order: tuple[int | None, ...]
    """For each of COLUMNS, its index among the kept fields; None if it is missing."""


def _columns(
    header: Record | BadRow, place: str, text_of: Callable[[Mapping[str, pl.DataType]], str | None]
) -> _Columns:
    """Raises _NoHeader when `header` is bad or names no text column."""
    import polars as pl

    if isinstance(header, BadRow):
        raise _NoHeader(header)
    if header.num_fields > MAX_COLUMNS:
        raise _NoHeader(BadRow(FIELDS, f"{place}:{header.first}"))
    if not header.is_utf8:
        raise _NoHeader(BadRow(NOT_UTF8, f"{place}:{header.first}"))
    names = [name.decode() for name in header.fields]
    text = text_of({name: pl.String() for name in names})
    if text is None:
        raise _NoHeader(BadRow(NO_TEXT, place))
    # A single column that is neither requested nor named like a text may be a row of a file without a header.
    if len(names) == 1 and text_of({text: pl.String(), TEXT_COLUMNS[0]: pl.String()}) != text:
        if DELIMITERS.search(text):
            raise _NoHeader(BadRow(OTHER_DELIMITER, f"{place}:{header.first}"))
        if not COLUMN_NAME.fullmatch(text) or keyword.iskeyword(text.split()[0]):
            raise _NoHeader(BadRow(NO_HEADER, f"{place}:{header.first}"))
    wanted = [(text,) if column == "content" else NAMES[column] for column in COLUMNS]
    found = [next((names.index(name) for name in own if name in names), None) for own in wanted]
    indices = tuple(sorted({n for n in found if n is not None}))
    return _Columns(len(names), indices, tuple(None if n is None else indices.index(n) for n in found))


def _next_block(records: Iterator[Record | BadRow]) -> list[Record | BadRow]:
    """The next records that form one block."""
    found: list[Record | BadRow] = []
    size = 0
    for record in islice(records, BLOCK_ROWS):
        found.append(record)
        size += record.size if isinstance(record, Record) else 0
        if size > BLOCK_BYTES:
            break
    return found


def _batch(records: list[Record | BadRow], columns: _Columns, place: str) -> Batch:
    import polars as pl

    good: list[list[bytes]] = []
    bad: list[BadRow] = []
    content = columns.order[COLUMNS.index("content")]
    for record in records:
        if isinstance(record, BadRow):
            bad.append(record)
        elif reason := _fault(record, columns.num_fields, content):
            bad.append(BadRow(reason, f"{place}:{record.first}"))
        else:
            good.append(record.fields)
    empty = pl.repeat("", len(good), dtype=pl.String, eager=True)
    rows = pl.DataFrame(
        {
            name: empty if number is None else pl.Series([fields[number].decode() for fields in good], dtype=pl.String)
            for name, number in zip(COLUMNS, columns.order, strict=True)
        }
    )
    return Batch(rows, content_bytes(rows), tuple(bad))


def _fault(record: Record, num_fields: int, content: int | None) -> str | None:
    """Why `record` is not a row, or None."""
    if record.num_fields != num_fields:
        return FIELDS
    if not record.is_utf8:
        return NOT_UTF8
    return None if content is not None and record.fields[content] else NULL_TEXT
