"""A stream with buffered ranges, which distinguishes its own errors from errors that arrow finds in its data."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pipeline.data.readers.decompress import StreamError
from pipeline.data.sources.base import DAMAGED

MAX_BUFFERED = 64 * 2**20
"""Maximum total size of the buffered ranges. The compressed columns of a row group are fetched at once up to this size,
as every request to the Hub is expensive; larger ones are read in parts.
"""


class BufferedStream(io.RawIOBase):
    """Read-only view of `stream`. Closing it leaves the stream open."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._parts: list[tuple[int, bytes]] = []
        self._at = 0
        self._fault: Exception | None = None

    def buffer(self, places: list[tuple[int, int]]) -> None:
        """Buffers these ranges, each (start, size), and no others; none if their total size exceeds MAX_BUFFERED. Raises
        StreamError when a start or size is negative.
        """
        self._parts = []
        if any(start < 0 or size < 0 for start, size in places):
            raise StreamError(DAMAGED)
        if sum(size for _, size in places) <= MAX_BUFFERED:
            self._parts = [(start, self._fetch(start, size)) for start, size in sorted(places)]

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turns errors about the file into StreamError; an error of the stream itself is raised as it is."""
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
