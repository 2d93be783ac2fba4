"""JSON lines, plain or compressed, read so that one bad line costs one line and a cut-off file keeps what it holds.

Works on any binary stream: a local file or one on the Hub. Lines are fetched in blocks of a few megabytes; a block is read
by columns where that is exact, else line by line. Whatever the lines hold, no more than a block and a line is in memory;
a file that is one JSON value is held whole, up to a limit (documents.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import BinaryIO

from pipeline.data.sources import columns
from pipeline.data.sources.batch import (
    LONGEST_TEXT,
    NOT_JSON,
    NOT_UTF8,
    TEXT_COLUMNS,
    TOO_LONG,
    BadRow,
    Batch,
    Row,
    batch_of_bad,
    batch_of_rows,
    content_bytes,
)
from pipeline.data.sources.documents import document, opens_document
from pipeline.data.sources.packing import CHUNK, StreamError, unpacked
from pipeline.data.sources.shard import Piece
from pipeline.data.sources.values import loads, row_of

BLOCK_BYTES = 12 * 2**20
"""Large enough to be read by columns, small enough to show early and to lie in memory several times."""
MOST_LINES = 2**17
"""Lines of a block: each may be a bad row, which takes more memory than a short line does."""
LINE = re.compile(rb"[^ \t\r\n][^\n]*")


def json_suffix(name: str) -> str | None:
    """`.gz`, `.zst` or `` when the file `name` holds JSON lines by its ending, packed that way; None when it does not."""
    name = name.lower()
    packing = next((ending for ending in (".gz", ".zst") if name.endswith(ending)), "")
    stem = name.removesuffix(packing).rpartition("/")[2]
    if stem.endswith((".json", ".jsonl")) or (packing and "." not in stem.lstrip(".")):
        return packing
    return None


def pieces(
    stream: BinaryIO, name: str, place: str, num_bytes: int | None, names: tuple[str, ...] = TEXT_COLUMNS
) -> Iterator[Piece]:
    """The rows of one file. `name` tells by its ending how it is packed and whether it may be one JSON value; `place` is
    what bad rows are said to be in; `num_bytes` is the size of `stream`, if known; a row's text is what it has under the
    first of `names` that it has.
    """
    packing = json_suffix(name) or ""
    may_be_document = not name.lower().removesuffix(packing).endswith(".jsonl")
    num_read = 0

    def count(new_bytes: int) -> None:
        nonlocal num_read
        num_read += new_bytes

    blocks = _blocks(unpacked(stream, packing, count), place, names)
    for read in _readers(blocks, place, may_be_document=may_be_document):
        yield Piece(read, min(1.0, num_read / num_bytes) if num_bytes else None)


@dataclass(frozen=True)
class Block:
    """Whole lines of a file."""

    data: bytes
    first: int
    """Number of its first line, from 1."""
    num_lines: int
    place: str
    names: tuple[str, ...]
    """Where a row's text may be."""

    def read(self) -> Batch:
        """By columns where that is exact, else by lines."""
        rows = columns.table(self.data, self.num_lines, self.names)
        if rows is not None:
            return Batch(rows, content_bytes(rows))
        return batch_of_rows(_row(line, f"{self.place}:{number}", self.names) for number, line in self.lines())

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every line that is not blank, without the space before it, and its number."""
        number, end = self.first, 0
        # Not split: of a file of line ends, that makes a million lines a megabyte.
        for match in LINE.finditer(self.data):
            number += self.data.count(b"\n", end, match.start())
            end = match.end()
            yield number, match[0]

    def parts(self) -> Iterator[Block]:
        """Blocks of at most MOST_LINES lines."""
        import numpy as np

        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == 10) + 1
        cuts = [0, *ends[MOST_LINES - 1 :: MOST_LINES].tolist(), len(self.data)]
        for part, (start, end) in enumerate(pairwise(cuts)):
            before = part * MOST_LINES
            if start < end:
                yield Block(
                    self.data[start:end],
                    self.first + before,
                    min(MOST_LINES, self.num_lines - before),
                    self.place,
                    self.names,
                )


def _readers(blocks: Iterator[Block | BadRow], place: str, *, may_be_document: bool) -> Iterator[Callable[[], Batch]]:
    for block in blocks:
        if isinstance(block, BadRow):
            yield partial(batch_of_bad, block)
        elif may_be_document and block.first == 1 and opens_document(block.data.split(b"\n", 1)[0]):
            yield from document(block, blocks, place)
        else:
            yield block.read


def _blocks(chunks: Iterator[bytes], place: str, names: tuple[str, ...]) -> Iterator[Block | BadRow]:
    """Whole lines, BLOCK_BYTES or a little more at a time; and a bad row for each line that is too long, and for the
    place where the stream breaks off. What follows the last line end is a line too, unless it breaks off there.
    """
    cutter = _Cutter(place, names)
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

    def __init__(self, place: str, names: tuple[str, ...]) -> None:
        self._names = names
        self.first = 1
        """Number of the line that what is pending begins with."""
        self._place = place
        self._pending: list[bytes] = []
        self._size = 0
        self._has_end = False
        """Whether a line ends in what is pending."""
        self._skips = False
        """Whether it is inside a line that was too long already."""

    def add(self, chunk: bytes) -> Iterator[Block | BadRow]:
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

    def whole_lines(self) -> Iterator[Block | BadRow]:
        """What ends in what is pending."""
        last = next((n for n in reversed(range(len(self._pending))) if b"\n" in self._pending[n]), None)
        if last is None:
            return
        end = self._pending[last].rfind(b"\n") + 1
        data = b"".join([*self._pending[:last], memoryview(self._pending[last])[:end]])
        num_lines = _line_ends(data)
        yield from _fitting(Block(data, self.first, num_lines, self._place, self._names))
        self.first += num_lines
        self._keep([self._pending[last][end:], *self._pending[last + 1 :]])

    def rest(self) -> Iterator[Block | BadRow]:
        if data := b"".join(self._pending):
            num_lines = _line_ends(data) + (not data.endswith(b"\n"))
            yield from _fitting(Block(data, self.first, num_lines, self._place, self._names))

    def _keep(self, pending: list[bytes]) -> None:
        self._pending, self._size, self._has_end = pending, sum(map(len, pending)), False


def _fitting(block: Block) -> Iterator[Block | BadRow]:
    """`block` without its lines that are too long, in parts if it has too many; nothing if it is blank."""
    if block.data.isspace():
        return
    if len(block.data) > LONGEST_TEXT and any(len(line) > LONGEST_TEXT for _, line in block.lines()):
        for number, line in block.lines():
            too_long = len(line) > LONGEST_TEXT
            yield (
                BadRow(TOO_LONG, f"{block.place}:{number}")
                if too_long
                else Block(line, number, 1, block.place, block.names)
            )
    elif block.num_lines > MOST_LINES:
        yield from block.parts()
    else:
        yield block


def _line_ends(data: bytes) -> int:
    import numpy as np

    # Not data.count: that holds up the other threads. In parts, as comparing the whole would fill fresh memory.
    values = np.frombuffer(data, np.uint8)
    return sum(int(np.count_nonzero(values[start : start + CHUNK] == 10)) for start in range(0, len(values), CHUNK))


def _row(line: bytes, where: str, names: tuple[str, ...]) -> Row | BadRow:
    try:
        return row_of(loads(line), where, names)
    except UnicodeDecodeError:
        return BadRow(NOT_UTF8, where)
    except (ValueError, RecursionError):
        return BadRow(NOT_JSON, where)
