"""Reads a parquet file in bounded memory whatever it contains: a text of 800 MB may take a kilobyte of the file, and a
text that is stored once may occur in a million rows.

Works on any seekable binary stream: a local file or one on the Hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from pipeline.data.readers.buffered_stream import BufferedStream
from pipeline.data.readers.decompress import CHUNK, FREE_BYTES, MAX_GROWTH, StreamError
from pipeline.data.readers.frames import batch_of
from pipeline.data.readers.parquet_pages import Page, most_at_once, pages, whole
from pipeline.data.sources.base import (
    BOMB,
    LONGEST_TEXT,
    NAMES,
    NO_TEXT,
    TOO_LONG,
    BadRow,
    Batch,
    batch_of_bad,
)
from pipeline.data.sources.shard import Block

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as arrow
    import pyarrow.parquet as parquet

BLOCK_ROWS = 256
BLOCK_BYTES = 12 * 2**20
ROWS_AT_ONCE = (256, 128, 64, 32, 16, 8, 4, 2, 1)
"""Numbers of rows to try. Reading few at a time costs little more than many, until they are very few."""
MAX_AT_ONCE = 4 * LONGEST_TEXT
"""Maximum bytes of rows that are read together."""
LARGEST_ROW = 8 * LONGEST_TEXT
"""Maximum bytes of a row and the page around it. Whether the row exceeds LONGEST_TEXT is known after reading."""


def parquet_blocks(
    stream: BinaryIO, place: str, text_of: Callable[[Mapping[str, pl.DataType]], str | None]
) -> Iterator[Block]:
    """The rows of one file. `text_of` selects the text column from its schema; `place` is the file name in bad rows. A
    file that is not parquet, or has no text column, is one bad row.
    """
    try:
        table = Table(stream, place)
    except StreamError as error:
        yield Block(partial(batch_of_bad, BadRow(str(error), f"{place}:1")), 1.0)
        return
    text = text_of(table.schema)
    if text is None:
        yield Block(partial(batch_of_bad, BadRow(NO_TEXT, place)), 1.0)
        return
    yield from table.blocks(text)


class Table:
    """A parquet file. Raises StreamError when `stream` is not one; errors of `stream` itself are passed on."""

    def __init__(self, stream: BinaryIO, place: str) -> None:
        import polars as pl
        import pyarrow.parquet as parquet

        self._place = place
        self._stream = BufferedStream(stream)
        with self._stream.faults():
            self._file = parquet.ParquetFile(self._stream, buffer_size=CHUNK)
            self.schema: dict[str, pl.DataType] = dict(pl.DataFrame(self._file.schema_arrow.empty_table()).schema)
        self._metadata = self._file.metadata

    def blocks(self, text: str) -> Iterator[Block]:
        """The rows, whose text is in the column `text`. A row group that is damaged, or that cannot be read in bounded
        memory, is one bad row from there on.
        """
        first = 1
        for group in range(self._metadata.num_row_groups):
            if not self._metadata.row_group(group).num_rows:
                continue  # it may have no pages at the offsets in its footer
            done = first
            try:
                for parts in _grouped(self._parts(group, text)):
                    read = self._reading(parts, text, done)
                    done += sum(map(len, parts)) or 1
                    yield Block(read, self._share(done))
                first = done
            except StreamError as error:
                first = max(done, first + self._metadata.row_group(group).num_rows)
                bad = BadRow(str(error), f"{self._place}:{done}")
                yield Block(partial(batch_of_bad, bad), self._share(first))

    def _share(self, after: int) -> float:
        return min(1.0, (after - 1) / max(1, self._metadata.num_rows))

    def _reading(self, parts: list[arrow.RecordBatch], text: str, first: int) -> Callable[[], Batch]:
        import polars as pl
        import pyarrow as arrow

        if not parts:
            return partial(batch_of_bad, BadRow(TOO_LONG, f"{self._place}:{first}"))
        frame = pl.DataFrame(arrow.Table.from_batches(parts))
        return partial(batch_of, frame, text, place=self._place, first=first)

    def _parts(self, group: int, text: str) -> Iterator[arrow.RecordBatch | None]:
        """The rows of a row group, read together in numbers that cannot exceed MAX_AT_ONCE, or one by one; None for
        each row that is too long.
        """
        size, max_bytes = 0, max(FREE_BYTES, MAX_GROWTH * self._packed(group))
        with self._stream.faults():
            leaves = self._leaves(group, text)
            columns = list(dict.fromkeys(leaf.column for leaf in leaves))
            rows = _rows_at_once(leaves)
            read = self._file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)
            for part in map(_plain, read):
                size += part.nbytes
                if size > max_bytes:
                    raise StreamError(BOMB)
                yield from map(_utf8, _without_long_rows(part))

    def _packed(self, group: int) -> int:
        row_group = self._metadata.row_group(group)
        return sum(row_group.column(number).total_compressed_size for number in range(row_group.num_columns))

    def _leaves(self, group: int, text: str) -> list[_Leaf]:
        """The leaf columns to read: the text, and those of NAMES except lists that may be too long."""
        others = (name for own in NAMES.values() for name in own)
        names = [text, *(name for name in others if name != text and name in self.schema)]
        row_group = self._metadata.row_group(group)
        spans = {number: _span_of(row_group.column(number)) for number in range(row_group.num_columns)}
        of = {name: [n for n in spans if _is_in(self._metadata.schema.column(n).path, name)] for name in names}
        self._stream.buffer([spans[number] for numbers in of.values() for number in numbers])
        leaves = [self._leaf(name, number, *spans[number]) for name, numbers in of.items() for number in numbers]
        return [leaf for leaf in leaves if leaf.column == text or not leaf.is_list or leaf.max_bytes(1) <= LARGEST_ROW]

    def _leaf(self, column: str, number: int, start: int, num_bytes: int) -> _Leaf:
        schema = self._metadata.schema.column(number)
        value_bytes = max(0, schema.length) if schema.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0
        found = pages(self._stream, start, num_bytes, value_bytes)
        return _Leaf(column, found, is_list=schema.max_repetition_level > 0)


@dataclass(frozen=True)
class _Leaf:
    """A column of a row group, or a part of a nested one."""

    column: str
    pages: list[Page]
    is_list: bool

    def max_bytes(self, num_rows: int) -> int:
        """Maximum bytes of `num_rows` rows; of the whole column for a list, as its row boundaries are unknown."""
        return whole(self.pages) if self.is_list else most_at_once(self.pages, num_rows)


def _rows_at_once(leaves: Sequence[_Leaf]) -> int:
    """How many rows to read together. Raises StreamError when not even one can be read in bounded memory."""
    for rows in ROWS_AT_ONCE:
        if sum(leaf.max_bytes(rows) for leaf in leaves) <= (MAX_AT_ONCE if rows > 1 else LARGEST_ROW):
            return rows
    raise StreamError(BOMB)


def _span_of(chunk: parquet.ColumnChunkMetaData) -> tuple[int, int]:
    start, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset
    return min(start, dictionary) if dictionary else start, chunk.total_compressed_size


def _is_in(path: str, column: str) -> bool:
    return path == column or path.startswith(f"{column}.")


def _plain(part: arrow.RecordBatch) -> arrow.RecordBatch:
    """`part` without dictionary encoding, as the size of a dictionary says nothing about its rows."""
    import pyarrow as arrow

    if not any(arrow.types.is_dictionary(kind) for kind in part.schema.types):
        return part
    columns = [column.dictionary_decode() if isinstance(column, arrow.DictionaryArray) else column for column in part]
    return arrow.RecordBatch.from_arrays(columns, part.schema.names)


def _without_long_rows(part: arrow.RecordBatch) -> Iterator[arrow.RecordBatch | None]:
    """`part` without its rows that are too long, and None for each of those."""
    import numpy as np
    import pyarrow as arrow
    import pyarrow.compute as compute

    if part.nbytes <= LONGEST_TEXT:
        yield part
        return
    texts = [arrow.types.is_large_string, arrow.types.is_string, arrow.types.is_large_binary, arrow.types.is_binary]
    too_long = np.zeros(len(part), bool)
    for column in part:
        own = column.storage if isinstance(column, arrow.ExtensionArray) else column
        if any(is_text(own.type) for is_text in texts):
            too_long |= compute.binary_length(own).fill_null(0).to_numpy(zero_copy_only=False) > LONGEST_TEXT
    start = 0
    for row in [*np.flatnonzero(too_long).tolist(), len(part)]:
        if row > start:
            # Copied, as a slice would keep the whole batch in memory.
            yield part.take(arrow.array(range(start, row))) if too_long.any() else part
        if row < len(part):
            yield None
        start = row + 1


def _utf8(part: arrow.RecordBatch | None) -> arrow.RecordBatch | None:
    """`part`, with texts as bytes if one of them is not UTF-8: parquet does not check that, and polars relies on it."""
    import pyarrow as arrow

    if part is None:
        return None
    try:
        part.validate(full=True)
    except arrow.ArrowInvalid:
        kinds = {arrow.string(): arrow.binary(), arrow.large_string(): arrow.large_binary()}
        columns = [column.cast(kinds.get(column.type, column.type)) for column in part]
        part = arrow.RecordBatch.from_arrays(columns, part.schema.names)
        part.validate(full=True)
    return part


def _grouped(parts: Iterator[arrow.RecordBatch | None]) -> Iterator[list[arrow.RecordBatch]]:
    """Groups parts with equal schemas into blocks; an empty list stands for a row that is too long."""
    waiting: list[arrow.RecordBatch] = []
    num_rows = size = 0
    try:
        for part in parts:
            own, own_rows = (0, 0) if part is None else (part.nbytes, len(part))
            if waiting and (
                part is None
                or part.schema != waiting[0].schema
                or num_rows + own_rows > BLOCK_ROWS
                or size + own > BLOCK_BYTES
            ):
                yield waiting
                waiting, num_rows, size = [], 0, 0
            if part is None:
                yield []
            else:
                waiting.append(part)
                num_rows, size = num_rows + own_rows, size + own
    except StreamError:
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting
