"""Splits comma- or tab-separated values into records, in bounded memory whatever the file contains.

It works on bytes and does not use Python's csv or pandas: those build a whole record before its length can be checked,
and read the rest of a file into a field whose quote is not closed. Here such a quote loses only its own record: reading
continues at the line after the record's first line. As in those parsers, a quote counts only at the start of a field.
A record ends at the end of a line. A record with quotes that are escaped by backslashes is a bad row: read as if they
were not, it would end inside a field or swallow the next records.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.data.readers.decompress import CHUNK, FREE_BYTES
from pipeline.data.readers.json_row import BYTE_ORDER_MARK
from pipeline.data.readers.whole_lines import WholeLines
from pipeline.data.sources.base import DAMAGED, ESCAPED, LONGEST_TEXT, TOO_LONG, UNCLOSED, BadRow

MAX_COLUMNS = 10_000
STRETCH = 2**18
"""Maximum bytes without a quote that are split into lines at once."""
BACKSLASH, ESCAPED_QUOTE = ord("\\"), b'\\"'
BLANK = re.compile(rb"(?:\r?\n)++")


class Syntax:
    """Regular expressions for fields and records, where `delimiter` separates the fields."""

    def __init__(self, delimiter: bytes) -> None:
        field = rb'"(?:[^"]++|"")*+"[^%b\n]*+|(?!")[^%b\n]*+' % (delimiter, delimiter)
        self.field = re.compile(rb'"((?:[^"]++|"")*+)"([^%b\n]*+)|(?!")([^%b\n]*+)' % (delimiter, delimiter))
        """Groups: a quoted text and what follows its closing quote, or an unquoted text. No match: quote not closed."""
        self.rest = re.compile(rb"(?:%b(?:%b))*+" % (delimiter, field))
        """The remaining fields of a record, with their delimiters."""
        inside = rb'"(?:[^"\\]++|\\[\s\S]|"")*+'
        field = rb'(?:%b"(?=[%b\r\n])\r?|(?!")[^%b\n]*+)' % (inside, delimiter, delimiter)
        self.escaped = re.compile(rb"%b(?:%b%b)*+\n" % (field, delimiter, field))
        """A record whose quoted fields may have quotes that are escaped by backslashes."""
        self.unfinished = re.compile(rb'(?:%b%b)*+(?:%b"?\r?|[^"%b\n]*+)\Z' % (field, delimiter, inside, delimiter))
        """The beginning of such a record that has no end in the data."""


class Record(NamedTuple):  # creating a dataclass takes as long as reading a short record
    fields: list[bytes]
    """Those that are kept, see Records.keep."""
    first: int
    """Number of its first line, from 1."""
    num_fields: int
    size: int
    is_utf8: bool


class Records:
    """The records of `cuts`, and a bad row for each record that is too long or has an unclosed quote."""

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
        self._kept_indices: tuple[int, ...] | None = None
        self._max_fields = MAX_COLUMNS
        self._num_seen = self._num_failed = 0
        """Bytes read, and bytes searched in vain for the end of a record."""
        self._gave_up = False

    def keep(self, places: Iterable[int], num_fields: int) -> None:
        """Keeps only the fields at the indices `places`, in ascending order, of all further records, and counts the
        fields of a record only up to `num_fields` + 1.
        """
        self._kept_indices, self._max_fields = tuple(places), num_fields

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
            else:  # the stream breaks off here, and with it the record that has no end yet
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
        """The records that end in the data. `no_end` is why an unfinished one is bad; None while its end may follow."""
        while self._at < len(self._data):
            yield from self._plain()
            if self._at == len(self._data):
                return
            if self._data[self._at] in b"\r\n" and (blank := BLANK.match(self._data, self._at)):
                self._go_to(blank.end())
                continue
            size = len(self._data) - self._at
            may_wait = no_end is None and size <= LONGEST_TEXT
            record = self._record(may_wait=may_wait)
            if record is None:
                if may_wait:
                    return
                escaped = self._syntax.escaped.match(self._data, self._at)
                if escaped is not None and ESCAPED_QUOTE in escaped.group():
                    yield self._bad_until(escaped.end())
                    continue
                self._num_failed += size
                if self._num_failed > FREE_BYTES + 2 * self._num_seen:
                    # Every line begins a record without an end: searching for the end of each would take days.
                    self._gave_up = True
                    yield BadRow(DAMAGED, self._where())
                    return
                yield BadRow(TOO_LONG if size > LONGEST_TEXT else no_end or TOO_LONG, self._where())
                self._go_to(self._data.find(b"\n", self._at) + 1 or len(self._data))
            elif isinstance(record, BadRow):
                yield record
            else:
                yield BadRow(TOO_LONG, f"{self._place}:{record.first}") if record.size > LONGEST_TEXT else record

    def _plain(self) -> Iterator[Record]:
        """The records of the next lines up to the first quote: many times as fast as with quotes."""
        while self._kept_indices is not None and self._at < len(self._data):
            stop = min(len(self._data), self._at + STRETCH)
            quote = self._data.find(b'"', self._at, stop)
            end = self._data.rfind(b"\n", self._at, stop if quote < 0 else quote)
            if end < 0:
                return
            lines = self._data[self._at : end].split(b"\n")
            self._at = end + 1
            for number, line in enumerate(lines, self._line):
                if line and line != b"\r":
                    fields = line.removesuffix(b"\r").split(self._delimiter, self._max_fields)
                    kept = [fields[index] for index in self._kept_indices if index < len(fields)]
                    yield Record(kept, number, len(fields), len(line), self._is_utf8 or _is_utf8(line))
            self._line += len(lines)

    def _record(self, *, may_wait: bool) -> Record | BadRow | None:
        """The record at the current offset, which then moves behind it; None if it does not end in the data, or if
        only more data can tell where it ends and it `may_wait` for them.
        """
        fields: list[bytes] = []
        number, at, data, match = 0, self._at, self._data, self._syntax.field.match
        has_tail = ends_in_backslash = False
        while field := match(data, at):
            at, quote = field.end(), field.end(1)  # `quote`: the closing one
            if quote >= 0:
                has_tail |= at > quote + 1 and data[quote + 1 : at] != b"\r"
                ends_in_backslash |= data[quote - 1] == BACKSLASH
            if self._kept_indices is None or number in self._kept_indices:
                fields.append(_value(field))
            number += 1
            if number > self._max_fields:
                rest = self._syntax.rest.match(data, at)
                assert rest is not None  # it also matches an empty string
                at = rest.end()
            if at == len(data) or data[at] == 10:
                break
            at += 1
        if field is None or at == len(data) or data[at] != 10:
            return None
        if (has_tail or ends_in_backslash) and data.find(ESCAPED_QUOTE, self._at, at) >= 0:
            if escaped := self._syntax.escaped.match(data, self._at):
                return self._bad_until(escaped.end())
            if may_wait and self._syntax.unfinished.match(data, self._at):
                return None
            if has_tail:
                return self._bad_until(data.index(b"\n", self._at) + 1)
        is_utf8 = self._is_utf8 or _is_utf8(data[self._at : at])
        record = Record(fields, self._line, number, at - self._at, is_utf8)
        self._go_to(at + 1)
        return record

    def _bad_until(self, end: int) -> BadRow:
        """The record at the current offset, which then moves to `end`, as one with escaped quotes."""
        bad = BadRow(ESCAPED, self._where())
        self._go_to(end)
        return bad

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
    if data.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        # In chunks: as a string, a block may take four times its bytes.
        for start in range(0, len(data), CHUNK):
            decoder.decode(data[start : start + CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
