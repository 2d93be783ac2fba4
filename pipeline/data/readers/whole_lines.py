"""Cuts a stream of bytes at line ends into blocks of whole lines. However long a line is, no more than one block and
LONGEST_TEXT of it are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from pipeline.data.readers.decompress import CHUNK, StreamError
from pipeline.data.sources.base import LONGEST_TEXT, TOO_LONG, BadRow

BLOCK_BYTES = 12 * 2**20
"""Large enough to be read by columns, small enough to show results early and to be in memory several times."""
MAX_LINES = 2**17
"""Maximum lines that become rows together: each may be a bad row, which takes more memory than a short line does."""


@dataclass(frozen=True)
class WholeLines:
    """Consecutive lines of a file."""

    data: bytes
    first: int
    """Number of the first line, from 1."""
    num_lines: int

    def parts(self) -> Iterator[WholeLines]:
        """Blocks of at most MAX_LINES lines."""
        if self.num_lines <= MAX_LINES:
            yield self
            return
        import numpy as np

        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == 10) + 1
        cuts = [0, *ends[MAX_LINES - 1 :: MAX_LINES].tolist(), len(self.data)]
        for part, (start, end) in enumerate(pairwise(cuts)):
            before = part * MAX_LINES
            if start < end:
                num_lines = min(MAX_LINES, self.num_lines - before)
                yield WholeLines(self.data[start:end], self.first + before, num_lines)


def whole_lines(chunks: Iterator[bytes], place: str) -> Iterator[WholeLines | BadRow]:
    """Whole lines, in blocks of BLOCK_BYTES or a little more; a bad row for each line that is far too long, and for the
    line where the stream breaks off. Data after the last line end is a line too, unless the stream breaks off there.

    A line of a block may still be a little longer than LONGEST_TEXT.
    """
    cutter = _Cutter(place)
    try:
        for chunk in chunks:
            yield from cutter.add(chunk)
    except StreamError as error:
        yield from cutter.whole_lines()
        yield BadRow(str(error), f"{place}:{cutter.first}")
    else:
        yield from cutter.rest()


class _Cutter:
    """Cuts chunks at line ends."""

    def __init__(self, place: str) -> None:
        self.first = 1
        """Number of the first pending line."""
        self._place = place
        self._pending: list[bytes] = []
        self._size = 0
        self._has_end = False
        """Whether the pending data contains a line end."""
        self._skips = False
        """Whether the rest of a line that was too long is being skipped."""

    def add(self, chunk: bytes) -> Iterator[WholeLines | BadRow]:
        if self._skips:
            end = chunk.find(b"\n") + 1
            if not end:
                return
            chunk, self._skips = chunk[end:], False
            self.first += 1
        self._pending.append(chunk)
        self._size += len(chunk)
        self._has_end = self._has_end or b"\n" in chunk
        if self._size >= BLOCK_BYTES and self._has_end:
            yield from self.whole_lines()
        if self._size > LONGEST_TEXT and not self._has_end:
            yield BadRow(TOO_LONG, f"{self._place}:{self.first}")
            self._keep([])
            self._skips = True

    def whole_lines(self) -> Iterator[WholeLines]:
        """The complete lines of the pending data."""
        last = next((n for n in reversed(range(len(self._pending))) if b"\n" in self._pending[n]), None)
        if last is None:
            return
        end = self._pending[last].rfind(b"\n") + 1
        data = b"".join([*self._pending[:last], memoryview(self._pending[last])[:end]])
        num_lines = _line_ends(data)
        yield WholeLines(data, self.first, num_lines)
        self.first += num_lines
        self._keep([self._pending[last][end:], *self._pending[last + 1 :]])

    def rest(self) -> Iterator[WholeLines]:
        if data := b"".join(self._pending):
            yield WholeLines(data, self.first, _line_ends(data) + (not data.endswith(b"\n")))

    def _keep(self, pending: list[bytes]) -> None:
        self._pending, self._size, self._has_end = pending, sum(map(len, pending)), False


def _line_ends(data: bytes) -> int:
    import numpy as np

    # Not data.count, which blocks the other threads. In parts, as comparing the whole would allocate new memory.
    values = np.frombuffer(data, np.uint8)
    return sum(int(np.count_nonzero(values[start : start + CHUNK] == 10)) for start in range(0, len(values), CHUNK))
