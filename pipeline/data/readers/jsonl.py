"""Reads JSON lines, plain or compressed. A bad line loses only that line, and a truncated file keeps its whole lines.

Works on any binary stream: a local file or one on the Hub. Lines are fetched in blocks of a few megabytes; a block is
read by columns where that is exact, else line by line. No more than a block and a line are in memory, whatever they
contain; a file that is one JSON value is buffered whole, up to a limit (json_document.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from pipeline.data.readers.decompress import Unpacked
from pipeline.data.readers.json_document import document, opens_document
from pipeline.data.readers.json_row import TextKeys
from pipeline.data.readers.line_block import LineBlock
from pipeline.data.readers.whole_lines import WholeLines, whole_lines
from pipeline.data.sources.base import (
    LONGEST_TEXT,
    TOO_LONG,
    BadRow,
    Batch,
    batch_of_bad,
)
from pipeline.data.sources.shard import Block

if TYPE_CHECKING:
    from pipeline.data.sources.base import TextOf


def blocks(
    stream: BinaryIO,
    place: str,
    num_bytes: int | None,
    text_of: TextOf,
    *,
    packing: str = "",
    may_be_document: bool = False,
) -> Iterator[Block]:
    """The rows of one file, which is compressed as `packing` says and, if `may_be_document`, may be one JSON value.
    `place` is the file name in bad rows, `num_bytes` the size of `stream`, if known. `text_of` selects the key with the
    text from those of the first row, as of a table with these columns.
    """
    source = Unpacked(stream, packing, num_bytes)
    keys = TextKeys(text_of)
    cuts = _line_blocks(whole_lines(source.chunks(), place), place, keys)
    for read in _readers(cuts, place, keys, may_be_document=may_be_document):
        yield Block(read, source.share())


def _readers(
    cuts: Iterator[LineBlock | BadRow], place: str, keys: TextKeys, *, may_be_document: bool
) -> Iterator[Callable[[], Batch]]:
    for block in cuts:
        if isinstance(block, BadRow):
            yield partial(batch_of_bad, block)
        elif may_be_document and block.first == 1 and opens_document(block.data.split(b"\n", 1)[0]):
            yield from document(block, cuts, place, keys)
        else:
            yield block.read


def _line_blocks(cuts: Iterator[WholeLines | BadRow], place: str, keys: TextKeys) -> Iterator[LineBlock | BadRow]:
    for cut in cuts:
        if isinstance(cut, BadRow):
            yield cut
        else:
            yield from _bounded_blocks(cut, place, keys)


def _bounded_blocks(cut: WholeLines, place: str, keys: TextKeys) -> Iterator[LineBlock | BadRow]:
    """`cut` in blocks of at most MAX_LINES lines, with a bad row for each line that is too long; nothing if blank."""
    if cut.data.isspace():
        return
    names = keys.of_lines(cut.data)
    block = LineBlock(cut.data, cut.first, cut.num_lines, place, names)
    if len(block.data) > LONGEST_TEXT and any(len(line) > LONGEST_TEXT for _, line in block.lines()):
        for number, line in block.lines():
            too_long = len(line) > LONGEST_TEXT
            yield BadRow(TOO_LONG, f"{place}:{number}") if too_long else LineBlock(line, number, 1, place, names)
        return
    for part in cut.parts():
        yield LineBlock(part.data, part.first, part.num_lines, place, names)
