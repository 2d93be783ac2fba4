"""JSON lines, plain or compressed, read so that one bad line costs one line and a cut-off file keeps what it holds.

Works on any binary stream: a local file or one on the Hub. Lines are fetched in blocks of a few megabytes; a block is read
by columns where that is exact, else line by line. Whatever the lines hold, no more than a block and a line is in memory;
a file that is one JSON value is held whole, up to a limit (json_document.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from pipeline.data.readers import jsonl_columns
from pipeline.data.readers.blocks import WholeLines, whole_lines
from pipeline.data.readers.decompress import Unpacked
from pipeline.data.readers.json_document import document, opens_document
from pipeline.data.readers.json_row import loads, row_of
from pipeline.data.sources.base import (
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
from pipeline.data.sources.shard import Piece

LINE = re.compile(rb"[^ \t\r\n][^\n]*")


def pieces(
    stream: BinaryIO,
    place: str,
    num_bytes: int | None,
    names: tuple[str, ...] = TEXT_COLUMNS,
    *,
    packing: str = "",
    may_be_document: bool = False,
) -> Iterator[Piece]:
    """The rows of one file, which is packed as `packing` says and may be one JSON value; `place` is what bad rows are said
    to be in; `num_bytes` is the size of `stream`, if known; a row's text is what it has under the first of `names` that it
    has.
    """
    source = Unpacked(stream, packing, num_bytes)
    blocks = _blocks(whole_lines(source.chunks(), place), place, names)
    for read in _readers(blocks, place, may_be_document=may_be_document):
        yield Piece(read, source.share())


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
        rows = jsonl_columns.table(self.data, self.num_lines, self.names)
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


def _readers(blocks: Iterator[Block | BadRow], place: str, *, may_be_document: bool) -> Iterator[Callable[[], Batch]]:
    for block in blocks:
        if isinstance(block, BadRow):
            yield partial(batch_of_bad, block)
        elif may_be_document and block.first == 1 and opens_document(block.data.split(b"\n", 1)[0]):
            yield from document(block, blocks, place)
        else:
            yield block.read


def _blocks(cuts: Iterator[WholeLines | BadRow], place: str, names: tuple[str, ...]) -> Iterator[Block | BadRow]:
    for cut in cuts:
        if isinstance(cut, BadRow):
            yield cut
        else:
            yield from _fitting(cut, place, names)


def _fitting(cut: WholeLines, place: str, names: tuple[str, ...]) -> Iterator[Block | BadRow]:
    """`cut` without its lines that are too long, in parts if it has too many; nothing if it is blank."""
    if cut.data.isspace():
        return
    block = Block(cut.data, cut.first, cut.num_lines, place, names)
    if len(block.data) > LONGEST_TEXT and any(len(line) > LONGEST_TEXT for _, line in block.lines()):
        for number, line in block.lines():
            too_long = len(line) > LONGEST_TEXT
            yield BadRow(TOO_LONG, f"{place}:{number}") if too_long else Block(line, number, 1, place, names)
        return
    for part in cut.parts():
        yield Block(part.data, part.first, part.num_lines, place, names)


def _row(line: bytes, where: str, names: tuple[str, ...]) -> Row | BadRow:
    try:
        return row_of(loads(line), where, names)
    except UnicodeDecodeError:
        return BadRow(NOT_UTF8, where)
    except (ValueError, RecursionError):
        return BadRow(NOT_JSON, where)
