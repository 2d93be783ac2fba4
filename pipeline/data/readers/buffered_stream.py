"""A stream of which some parts are in memory, and which knows whether a fault was its own or is what arrow found in it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pipeline.data.readers.decompress import StreamError
from pipeline.data.sources.base import DAMAGED

MOST_HELD = 64 * 2**20
"""Packed columns of a row group are fetched at once up to this size, as every visit to the Hub costs; larger ones in parts."""


class Held(io.RawIOBase):
    """Read-only. Closing it leaves the stream open."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._parts: list[tuple[int, bytes]] = []
        self._at = 0
        self._fault: Exception | None = None

    def hold(self, places: list[tuple[int, int]]) -> None:
        """Have these in memory, each a start and a size, and no others; none if they are larger than MOST_HELD."""
        self._parts = []
        if any(start < 0 or size < 0 for start, size in places):
            raise StreamError(DAMAGED)
        if sum(size for _, size in places) <= MOST_HELD:
            self._parts = [(start, self._fetch(start, size)) for start, size in sorted(places)]

    @contextmanager
    def faults(self) -> Iterator[None]:
        """What is raised inside about the file is a StreamError; what the stream itself raised is raised."""
        import polars as pl
        import pyarrow as arrow

        try:
            yield
        except (arrow.ArrowException, OSError, UnicodeError, pl.exceptions.PolarsError) as error:
            if self._fault is not None:
                raise self._fault from None
            raise StreamError(DAMAGED) from error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            offset += self._stream.seek(0, io.SEEK_END)
        self._at = offset + (self._at if whence == io.SEEK_CUR else 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        found = next((part for part in self._parts if part[0] <= self._at < part[0] + len(part[1])), None)
        if found is not None and 0 <= size <= found[0] + len(found[1]) - self._at:
            data = found[1][self._at - found[0] : self._at - found[0] + size]
        else:
            data = self._fetch(self._at, size)
        self._at += len(data)
        return data

    def _fetch(self, start: int, size: int) -> bytes:
        try:
            self._stream.seek(start)
            return self._stream.read(size)
        except Exception as error:
            self._fault = error
            raise
