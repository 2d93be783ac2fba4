"""Whole lines of a JSON lines file and the batch they become: read by columns where that is exact, else by lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.data.readers import jsonl_columns
from pipeline.data.readers.json_row import loads, row_of
from pipeline.data.sources.base import NOT_JSON, NOT_UTF8, BadRow, Batch, Row, batch_of_rows, content_bytes

LINE = re.compile(rb"[^ \t\r\n][^\n]*")


@dataclass(frozen=True)
class LineBlock:
    """Whole lines of a file."""

    data: bytes
    first: int
    """Number of its first line, from 1."""
    num_lines: int
    place: str
    names: tuple[str, ...]
    """Keys that a row's text may have, in order of preference."""

    def read(self) -> Batch:
        """By columns where that is exact, else by lines."""
        rows = jsonl_columns.table(self.data, self.num_lines, self.names)
        if rows is not None:
            return Batch(rows, content_bytes(rows))
        return batch_of_rows(_row(line, f"{self.place}:{number}", self.names) for number, line in self.lines())

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The number of every line that is not blank, and the line without leading spaces."""
        number, end = self.first, 0
        # Not split: a file of line ends alone would become a million lines per megabyte.
        for match in LINE.finditer(self.data):
            number += self.data.count(b"\n", end, match.start())
            end = match.end()
            yield number, match[0]


def _row(line: bytes, where: str, names: tuple[str, ...]) -> Row | BadRow:
    try:
        return row_of(loads(line), where, names)
    except UnicodeDecodeError:
        return BadRow(NOT_UTF8, where)
    except (ValueError, RecursionError):
        return BadRow(NOT_JSON, where)
