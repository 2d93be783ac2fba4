"""Comma- or tab-separated values, whose first record names the columns. Memory is bounded whatever the file holds.

Read by bytes, not with Python's csv or pandas: those build a record whole before anyone can say that it is too long, and
take the rest of a file into the field whose quote is not closed. Here such a quote costs its own record: reading goes on
in the line after the record's first. A quote counts where a field begins, as it does for them; a record ends with a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from pipeline.data.sources.batch import (
    COLUMNS,
    DAMAGED,
    FIELDS,
    LONGEST_TEXT,
    NO_TEXT,
    NOT_UTF8,
    NULL_TEXT,
    TOO_LONG,
    UNCLOSED,
    BadRow,
    Batch,
    batch_of_bad,
    content_bytes,
)
from pipeline.data.sources.blocks import WholeLines, whole_lines
from pipeline.data.sources.packing import FREE_BYTES, Unpacked
from pipeline.data.sources.shard import Piece
from pipeline.data.sources.values import BYTE_ORDER_MARK

if TYPE_CHECKING:
    import polars as pl

MOST_COLUMNS = 10_000
STRETCH = 2**18
"""Bytes without a quote that are cut at their line ends together."""
PIECE_ROWS = 8_192
PIECE_BYTES = 4 * 2**20
BLANK = re.compile(rb"(?:\r?\n)++")


class Syntax:
    """How fields and records are told apart where `delimiter` is between the fields."""

    def __init__(self, delimiter: bytes) -> None:
        field = rb'"(?:[^"]++|"")*+"[^%b\n]*+|(?!")[^%b\n]*+' % (delimiter, delimiter)
        self.field = re.compile(rb'"((?:[^"]++|"")*+)"([^%b\n]*+)|(?!")([^%b\n]*+)' % (delimiter, delimiter))
        """In quotes, with what stands between the closing one and the field's end; or without. No match: not closed."""
        self.rest = re.compile(rb"(?:%b(?:%b))*+" % (delimiter, field))
        """The fields that follow one, with their delimiters."""


class Record(NamedTuple):  # a dataclass takes as long to make as to read a short record
    fields: list[bytes]
    """Those that were asked for."""
    first: int
    """Number of its first line, from 1."""
    num_fields: int
    size: int
    is_utf8: bool


def delimited_pieces(
    stream: BinaryIO,
    place: str,
    num_bytes: int | None,
    text_of: Callable[[Mapping[str, pl.DataType]], str | None],
    *,
    delimiter: bytes,
    packing: str = "",
) -> Iterator[Piece]:
    """The rows of one file, whose text is in the column that `text_of` finds among those that the first record names;
    `place` is what bad rows are said to be in. A file without such a column is a bad row.
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
        yield Piece(partial(batch_of_bad, fault.row), 1.0)
        return
    records.keep(columns.places, columns.num_fields)
    while together := _some(found):
        yield Piece(partial(_batch, together, columns, place), source.share())


class Records:
    """The records of `cuts`, and a bad row for each that is too long or whose quote is not closed."""

    def __init__(self, cuts: Iterator[WholeLines | BadRow], place: str, delimiter: bytes) -> None:
        self._cuts = cuts
        self._place = place
        self._delimiter = delimiter
        self._syntax = Syntax(delimiter)
        self._data = b""
        self._is_utf8 = True
        self._at = 0
        self._line = 1
        """Number of the line that begins at `_at`."""
        self._wanted: tuple[int, ...] | None = None
        self._most = MOST_COLUMNS
        self._num_seen = self._num_failed = 0
        """Bytes read, and bytes looked through for the end of a record in vain."""
        self._gave_up = False

    def keep(self, places: Iterable[int], num_fields: int) -> None:
        """From now on, of each record only the fields at `places`, which rise, and whether it has more than `num_fields`."""
        self._wanted, self._most = tuple(places), num_fields

    def __iter__(self) -> Iterator[Record | BadRow]:
        for cut in self._cuts:
            if isinstance(cut, WholeLines):
                if self._at == len(self._data) and not cut.data.strip(b"\r\n"):
                    continue
                self._add(cut)
                yield from self._parsed()
            elif cut.reason == TOO_LONG:
                yield from self._parsed(TOO_LONG)
                yield cut
            else:  # the stream breaks off here, and so does the record that has no end yet
                yield BadRow(cut.reason, self._where()) if self._at < len(self._data) else cut
                return
            if self._gave_up:
                return
        if self._at < len(self._data):
            self._data += b"" if self._data.endswith(b"\n") else b"\n"
        yield from self._parsed(UNCLOSED)

    def _add(self, cut: WholeLines) -> None:
        if self._at == len(self._data):
            self._line = cut.first
        skipped = BYTE_ORDER_MARK if cut.first == 1 else b""
        self._data = self._data[self._at :] + cut.data.removeprefix(skipped)
        self._is_utf8 = _is_utf8(self._data)
        self._at = 0
        self._num_seen += len(cut.data)

    def _parsed(self, no_end: str | None = None) -> Iterator[Record | BadRow]:
        """The records that end in the data. `no_end` is why one that does not is bad; None: its end may come."""
        while self._at < len(self._data):
            yield from self._plain()
            if self._at == len(self._data):
                return
            if self._data[self._at] in b"\r\n" and (blank := BLANK.match(self._data, self._at)):
                self._go_to(blank.end())
                continue
            record = self._record()
            if record is None:
                size = len(self._data) - self._at
                if no_end is None and size <= LONGEST_TEXT:
                    return
                self._num_failed += size
                if self._num_failed > FREE_BYTES + 2 * self._num_seen:
                    # Every line begins a record without end: to look for the end of each would take days.
                    self._gave_up = True
                    yield BadRow(DAMAGED, self._where())
                    return
                yield BadRow(TOO_LONG if size > LONGEST_TEXT else no_end or TOO_LONG, self._where())
                self._go_to(self._data.find(b"\n", self._at) + 1 or len(self._data))
            else:
                yield BadRow(TOO_LONG, f"{self._place}:{record.first}") if record.size > LONGEST_TEXT else record

    def _plain(self) -> Iterator[Record]:
        """The records of the next lines as long as there is no quote in them: many times as fast."""
        while self._wanted is not None and self._at < len(self._data):
            stop = min(len(self._data), self._at + STRETCH)
            quote = self._data.find(b'"', self._at, stop)
            end = self._data.rfind(b"\n", self._at, stop if quote < 0 else quote)
            if end < 0:
                return
            lines = self._data[self._at : end].split(b"\n")
            self._at = end + 1
            for number, line in enumerate(lines, self._line):
                if line and line != b"\r":
                    fields = line.removesuffix(b"\r").split(self._delimiter, self._most)
                    kept = [fields[place] for place in self._wanted if place < len(fields)]
                    yield Record(kept, number, len(fields), len(line), self._is_utf8 or _is_utf8(line))
            self._line += len(lines)

    def _record(self) -> Record | None:
        """The record at the place reached, which is then behind it; None if it has no end in the data."""
        fields: list[bytes] = []
        number, at, data, match = 0, self._at, self._data, self._syntax.field.match
        while field := match(data, at):
            at = field.end()
            if self._wanted is None or number in self._wanted:
                fields.append(_value(field))
            number += 1
            if number > self._most:
                rest = self._syntax.rest.match(data, at)
                assert rest is not None  # it may be empty
                at = rest.end()
            if at == len(data) or data[at] == 10:
                break
            at += 1
        if field is None or at == len(data) or data[at] != 10:
            return None
        is_utf8 = self._is_utf8 or _is_utf8(data[self._at : at])
        record = Record(fields, self._line, number, at - self._at, is_utf8)
        self._go_to(at + 1)
        return record

    def _go_to(self, at: int) -> None:
        self._line += self._data.count(b"\n", self._at, at)
        self._at = at

    def _where(self) -> str:
        return f"{self._place}:{self._line}"


def _value(field: re.Match[bytes]) -> bytes:
    quoted, behind, plain = field.groups()
    if quoted is None:
        return plain.removesuffix(b"\r")
    return quoted.replace(b'""', b'"') + behind.removesuffix(b"\r")


def _is_utf8(data: bytes) -> bool:
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


class _NoHeader(Exception):
    def __init__(self, row: BadRow) -> None:
        self.row = row


@dataclass(frozen=True)
class _Columns:
    """Where in a record's fields the values of a row are."""

    num_fields: int
    places: tuple[int, ...]
    """Of the fields that are kept."""
    order: tuple[int | None, ...]
    """For each of COLUMNS, which of the kept fields it is."""


def _columns(
    header: Record | BadRow, place: str, text_of: Callable[[Mapping[str, pl.DataType]], str | None]
) -> _Columns:
    """Raises _NoHeader when `header` names no column of text."""
    import polars as pl

    if isinstance(header, BadRow):
        raise _NoHeader(header)
    if header.num_fields > MOST_COLUMNS:
        raise _NoHeader(BadRow(FIELDS, f"{place}:{header.first}"))
    if not header.is_utf8:
        raise _NoHeader(BadRow(NOT_UTF8, f"{place}:{header.first}"))
    names = [name.decode() for name in header.fields]
    text = text_of({name: pl.String() for name in names})
    if text is None:
        raise _NoHeader(BadRow(NO_TEXT, place))
    found = [names.index(name) if name in names else None for name in (text if c == "content" else c for c in COLUMNS)]
    places = tuple(sorted({n for n in found if n is not None}))
    return _Columns(len(names), places, tuple(None if n is None else places.index(n) for n in found))


def _some(records: Iterator[Record | BadRow]) -> list[Record | BadRow]:
    """The next records that go into one piece."""
    found: list[Record | BadRow] = []
    size = 0
    for record in islice(records, PIECE_ROWS):
        found.append(record)
        size += record.size if isinstance(record, Record) else 0
        if size > PIECE_BYTES:
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
    """Why `record` is no row, or None."""
    if record.num_fields != num_fields:
        return FIELDS
    if not record.is_utf8:
        return NOT_UTF8
    return None if content is not None and record.fields[content] else NULL_TEXT
