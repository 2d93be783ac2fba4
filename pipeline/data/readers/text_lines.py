"""A file of plain text: every line is a row, as `datasets` has it, in the column `text`; an empty line is an empty one.

Memory is bounded whatever it holds: a line that is too long costs itself, and so does one that is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from pipeline.data.readers.blocks import WholeLines, whole_lines
from pipeline.data.readers.decompress import Unpacked
from pipeline.data.readers.json_row import BYTE_ORDER_MARK
from pipeline.data.sources.base import LONGEST_TEXT, NO_TEXT, BadRow, Batch, batch_of_bad
from pipeline.data.sources.shard import Piece

if TYPE_CHECKING:
    import polars as pl

COLUMN = "text"


def text_pieces(
    stream: BinaryIO,
    place: str,
    num_bytes: int | None,
    text_of: Callable[[Mapping[str, pl.DataType]], str | None],
    *,
    packing: str = "",
) -> Iterator[Piece]:
    """The lines of one file; `place` is what bad ones are said to be in. If `text_of` does not take COLUMN for the text,
    the file is a bad row.
    """
    import polars as pl

    if text_of({COLUMN: pl.String()}) is None:
        yield Piece(partial(batch_of_bad, BadRow(NO_TEXT, place)), 1.0)
        return
    source = Unpacked(stream, packing, num_bytes)
    for cut in whole_lines(_with_unix_ends(source.chunks()), place):
        if isinstance(cut, BadRow):
            yield Piece(partial(batch_of_bad, cut), source.share())
            continue
        for part in cut.parts():
            yield Piece(partial(_batch, part, place), source.share())


def _with_unix_ends(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """All line ends as `\\n`: a `\\r` is one, alone or before a `\\n`."""
    held = b""
    for number, chunk in enumerate(chunks):
        data = held + (chunk.removeprefix(BYTE_ORDER_MARK) if not number else chunk)
        held = b"\r" if data.endswith(b"\r") else b""  # what comes next may be its `\n`
        if b"\r" in data:
            data = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        yield data
    if held:
        yield b"\n"


def _batch(part: WholeLines, place: str) -> Batch:
    import polars as pl

    from pipeline.data.readers.frames import batch_of

    lines: list[bytes] | list[str]
    kind: pl.DataType
    data = part.data.removesuffix(b"\n")
    try:
        if len(data) > LONGEST_TEXT:  # a line may be too long to be worth decoding
            raise ValueError
        lines, kind = data.decode().split("\n"), pl.String()
    except ValueError:
        lines, kind = data.split(b"\n"), pl.Binary()  # of bytes, each row is looked at by itself
    frame = pl.DataFrame({COLUMN: lines}, schema={COLUMN: kind})
    return batch_of(frame, COLUMN, place=place, first=part.first)
