"""Reads plain text: every line is a row in the column `text`, as in `datasets`; an empty line is an empty text.

Memory is bounded whatever the file contains: a line that is too long or not UTF-8 loses only that line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from pipeline.data.readers.decompress import Unpacked
from pipeline.data.readers.json_row import BYTE_ORDER_MARK
from pipeline.data.readers.whole_lines import WholeLines, whole_lines
from pipeline.data.sources.base import LONGEST_TEXT, NO_TEXT, BadRow, Batch, batch_of_bad
from pipeline.data.sources.shard import Block

if TYPE_CHECKING:
    import polars as pl

COLUMN = "text"


def text_blocks(
    stream: BinaryIO,
    place: str,
    num_bytes: int | None,
    text_of: Callable[[Mapping[str, pl.DataType]], str | None],
    *,
    packing: str = "",
) -> Iterator[Block]:
    """The lines of one file; `place` is the file name in bad rows. If `text_of` does not select COLUMN as the text, the
    file is one bad row.
    """
    import polars as pl

    if text_of({COLUMN: pl.String()}) is None:
        yield Block(partial(batch_of_bad, BadRow(NO_TEXT, place)), 1.0)
        return
    source = Unpacked(stream, packing, num_bytes)
    for cut in whole_lines(_with_unix_ends(source.chunks()), place):
        if isinstance(cut, BadRow):
            yield Block(partial(batch_of_bad, cut), source.share())
            continue
        for part in cut.parts():
            yield Block(partial(_batch, part, place), source.share())


def _with_unix_ends(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Converts all line ends to `\\n`: a `\\r` is a line end, alone or before a `\\n`."""
    pending = b""
    for number, chunk in enumerate(chunks):
        data = pending + (chunk.removeprefix(BYTE_ORDER_MARK) if not number else chunk)
        pending = b"\r" if data.endswith(b"\r") else b""  # the next chunk may begin with its `\n`
        if b"\r" in data:
            data = data[: len(data) - len(pending)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        yield data
    if pending:
        yield b"\n"


def _batch(part: WholeLines, place: str) -> Batch:
    import polars as pl

    from pipeline.data.readers.frames import batch_of

    lines: list[bytes] | list[str]
    kind: pl.DataType
    data = part.data.removesuffix(b"\n")
    try:
        if len(data) > LONGEST_TEXT:  # a line may be too long to decode
            raise ValueError
        lines, kind = data.decode().split("\n"), pl.String()
    except ValueError:
        lines, kind = data.split(b"\n"), pl.Binary()  # each row of bytes is checked by itself
    frame = pl.DataFrame({COLUMN: lines}, schema={COLUMN: kind})
    return batch_of(frame, COLUMN, place=place, first=part.first)
