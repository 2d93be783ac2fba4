"""Reads the pages of one parquet column from their headers alone: how large they are, and how far they can grow.

A file's footer states how large its columns are, but its author can write anything there; a reader allocates memory by
the page headers. They use thrift's compact protocol; the fields needed here are parsed and the rest is skipped.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from pipeline.data.readers.decompress import StreamError
from pipeline.data.sources.base import BOMB, DAMAGED

FIRST_READ = 2**12
"""Bytes of the first read; most headers end within them."""
LONGEST_HEADER = 16 * 2**20
MAX_PAGES = 2**16
"""In one column of a row group: with a megabyte each, 64 GB."""
MIN_BYTES = 8
"""Bytes that every value takes, however it is encoded."""
DEEPEST = 16
DICTIONARY_PAGE = 2
BY_DICTIONARY = (2, 8)
BY_PREFIX = 7
"""Encodings in which a long value may take no space in its page: it is in the dictionary, or shares a prefix."""
KINDS = {5: 2, 7: 2, 8: 4}
"""Header fields that tell the page type, each with the number of the field in it that is its encoding."""
STOP, TRUE, FALSE, BYTE, DOUBLE, TEXT, STRUCT = 0, 1, 2, 3, 7, 8, 12


@dataclass(frozen=True)
class Page:
    num_values: int
    num_bytes: int
    """Decompressed size."""
    longest: int
    """Maximum bytes of a value, when that may be more than its share of the page; else MIN_BYTES."""


def pages(stream: io.RawIOBase | BinaryIO, start: int, num_bytes: int, value_bytes: int = 0) -> list[Page]:
    """The pages between `start` and `start + num_bytes`, including a dictionary page. `value_bytes` is the length of
    each value if all are equally long.

    Raises StreamError when there are no valid pages, or too many.
    """
    found: list[Page] = []
    dictionary, end = 0, start + num_bytes
    while start < end:
        if len(found) == MAX_PAGES:
            raise StreamError(BOMB)
        length, fields = _header(stream, start, end)
        kind, inner = next(
            ((n, inner) for n, inner in fields.items() if n in KINDS and isinstance(inner, dict)), (0, {})
        )
        size, packed, num_values = _number(fields, 2), _number(fields, 3), _number(inner, 1) if kind else 0
        encoding = inner.get(KINDS.get(kind, 0))
        own = dictionary if encoding in BY_DICTIONARY else size if encoding == BY_PREFIX else 0
        if fields.get(1) == DICTIONARY_PAGE:
            dictionary, num_values, own = max(dictionary, size), 0, 0
        found.append(Page(num_values, size, max(MIN_BYTES, value_bytes, own)))
        start += length + packed
    return found


def most_at_once(pages: Sequence[Page], num_rows: int) -> int:
    """Maximum bytes of any `num_rows` consecutive rows of a column in which each row is one value."""
    worst = window = between = first = 0
    for last, page in enumerate(pages):
        window += page.num_bytes
        if last > first + 1:
            between += pages[last - 1].num_values
        while between > num_rows - 2 and first < last:  # at least one row each is in the first and the last page
            window -= pages[first].num_bytes
            first += 1
            between -= pages[first].num_values if first < last else 0
        worst = max(worst, window)
    return worst + num_rows * max((page.longest for page in pages), default=0)


def whole(pages: Sequence[Page]) -> int:
    """Maximum bytes of a whole column."""
    return sum(page.num_bytes + page.num_values * page.longest for page in pages)


def _number(fields: dict[int, Any], name: int) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or value < 0:
        raise StreamError(DAMAGED)
    return value


def _header(stream: io.RawIOBase | BinaryIO, start: int, end: int) -> tuple[int, dict[int, Any]]:
    """The length of the header at `start`, and its fields by number."""
    size = FIRST_READ
    while True:
        stream.seek(start)
        data = stream.read(min(size, end - start)) or b""
        reader = _Reader(data)
        try:
            fields = reader.struct()
        except IndexError:
            if size > min(LONGEST_HEADER, end - start):
                raise StreamError(DAMAGED) from None
            size *= 8
        else:
            return reader.at, fields


class _Reader:
    """Reads a struct of thrift's compact protocol. Raises IndexError where the data ends, StreamError if invalid."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Field number -> an integer or a struct; values of other types are None."""
        if depth > DEEPEST:
            raise StreamError(DAMAGED)
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) & 15 != STOP:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (TRUE, FALSE):
            return None
        if BYTE < kind < DOUBLE:
            return self._zigzag()
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind not in (BYTE, DOUBLE, TEXT):  # a page header contains no lists and no maps
            raise StreamError(DAMAGED)
        self._skip({BYTE: 1, DOUBLE: 8}.get(kind) or self._varint())
        return None

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise StreamError(DAMAGED)
        return value | byte << shift

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _skip(self, num_bytes: int) -> None:
        self.at += num_bytes
        if self.at > len(self._data):
            raise IndexError
